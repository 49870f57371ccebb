"""Stage `composition`: every way against a label by hand, agreement and accuracy by counting."""

import importlib
from itertools import combinations
from statistics import fmean
from types import SimpleNamespace

import pytest

from stages.evaluation.composition.composition import whole_list
from stages.evaluation.composition.ways import levels_of, lexicographic, standards_of
from stages.preferences.label_rule import Rule
from stages.principles.constitution import Principle
from stages.runtime.rows import Judgement, Rating
from stages.runtime.typed_config import parse_config
from tests.preferences.matrices import artifact, cells, judged_pairs, pairs

ROWS = {
    "a1|b1": {"p": 3.0, "q": -1.0, "r": -1.0},
    "a2|b2": {"p": 0.0, "q": -2.0, "r": 1.0},
    "a3|b3": {"p": 1.0, "q": 1.0, "r": 1.0},
    "a4|b4": {"p": -0.5, "q": 1.0, "r": 2.0},
    "a5|b5": {"p": -2.0, "q": 1.5, "r": 1.0},
}
WEIGHTS = {"p": 4.0, "q": 2.0, "r": 1.0}


def matrix():
    rows = []
    for number, (pair, margins) in enumerate(ROWS.items()):
        both = {name: (margin, margin) for name, margin in margins.items()}
        rows += cells(pair, both, (f"good {number}", f"bad {number}"), f"request {number}")
    return rows


def principle(name, **fields):
    return Principle.model_validate({"id": name, "text": f"Keep {name}.", **fields})


def truth(request, response):
    """p is broken by every second answer of an even pair, q by the first of every pair."""
    number = int(response.split()[1])
    bad = response.startswith("bad")
    violations = {"p": bad and number % 2 == 0, "q": not bad, "r": False}
    return SimpleNamespace(
        violations=violations, well_formed=True, on_topic=True, evasive=False, helpful=True
    )


@pytest.fixture
def result(tmp_path):
    file = tmp_path / "set.yaml"
    lines = ["name: test-set", "principles:"]
    for name in WEIGHTS:
        lines += [f"  - id: {name}", f"    text: Keep {name}.", f"    dimension: {name}"]
    file.write_text("\n".join(lines) + "\n")
    module = importlib.import_module("stages.evaluation.composition.composition")
    scores = []
    for number, pair in enumerate(ROWS):
        for place, side in enumerate(pair.split("|")):
            scores.append(rating(side, f"request {number}", 1.0 - place))
    inputs = {
        "judgements": artifact(tmp_path / "runs", "judge", matrix(), Judgement),
        "judged_ratings": artifact(tmp_path / "runs", "scores", scores, Rating),
    }
    config = parse_config(
        module.Config,
        {
            "constitution": {"name": str(file), "weights": WEIGHTS},
            "ground_truth": f"{__name__}:truth",
            "resamples": 100,
        },
        "step 'it'",
    )
    return module.run(config, inputs, SimpleNamespace(step="it", seed=0))


def rating(response_id, prompt_id, score):
    return Rating(
        id=response_id,
        prompt_id=prompt_id,
        response_id=response_id,
        kind="red_team",
        prompt=[{"role": "user", "content": prompt_id}],
        response="text",
        score=score,
        principles=[],
        negated=[],
        scores=[],
        model="0" * 16,
    )


def sign(number):
    return (number > 0) - (number < 0)


def by_hand():
    """The labels by the ways that need no draw."""
    labels = {}
    for pair, row in ROWS.items():
        first = next((row[name] for name in "pqr" if row[name]), 0.0)
        labels[pair] = {
            "mean": sign(sum(row.values())),
            "weighted": sign(sum(WEIGHTS[name] * margin for name, margin in row.items())),
            "vote": sign(sum(map(sign, row.values()))),
            "max_abs": sign(max(row.values(), key=abs)),
            "lexicographic": sign(first),
            "judged": 1,
        }
    return labels


def test_agreements_are_those_of_labels_by_hand(result):
    labels = by_hand()
    by_two = {(each["first"], each["second"]): each for each in result.metrics["agreements"]}
    for first, second in combinations(labels["a1|b1"], 2):
        each = by_two.get((first, second)) or by_two[second, first]
        both = [row for row in labels.values() if row[first] and row[second]]
        assert each["pairs"] == len(both)
        assert each["agree"]["value"] == fmean(row[first] == row[second] for row in both)


def test_accuracies_are_against_priorities_that_are_known(result):
    labels = by_hand()
    # q is broken by every first answer, p by the second of even pairs: p goes first
    priorities = [1 if number % 2 == 0 else -1 for number in range(len(ROWS))]
    for way in labels["a1|b1"]:
        hits = [
            0.5 if not row[way] else float(row[way] == better)
            for row, better in zip(labels.values(), priorities, strict=True)
        ]
        accuracy = result.metrics["ways"][way]["accuracy"]
        assert accuracy["priorities"]["value"] == pytest.approx(fmean(hits))
        assert accuracy["unanimous"]["n"] == 2, "odd pairs, where only q has a preference"


def test_calls_are_of_the_cells_that_a_way_reads(result):
    calls = {way: facts["calls"] for way, facts in result.metrics["ways"].items()}
    assert calls["random"] == calls["judged"] == 2
    assert calls["mean"] == calls["vote"] == 6
    assert calls["lexicographic"] == pytest.approx(2 * fmean([1, 2, 1, 1, 1]))
    assert 2 <= calls["salmon"] <= 6


def test_random_and_max_label_as_judged_pairs_does(result, tmp_path):
    for way in ("random", "max_abs", "vote"):
        done = pairs(judged_pairs(tmp_path / way, matrix(), aggregate=way))
        for pair, row in by_hand().items():
            if way != "random":
                assert (row[way] == 0) == (pair not in done)


def test_every_way_has_a_row_and_the_first_table_says_how_many_pairs(result):
    assert result.tables[0].title == "it: 5 pairs, 5 prompts"
    assert [row[0] for row in result.tables[0].rows] == list(result.metrics["ways"])
    assert result.metrics["conflicts"] == pytest.approx(4 / 5)
    assert result.rows == []


def test_levels_are_by_authority_then_weight_and_equals_share_one():
    made = [
        principle("low"),
        principle("heavy", weight=3.0),
        principle("user", authority="user"),
        principle("root", authority="root"),
        principle("twin"),
    ]
    assert levels_of(made) == [["root"], ["user"], ["heavy"], ["low", "twin"]]
    assert whole_list(made[:3]) == "Keep user. Keep heavy. Keep low."
    composed = lexicographic({"low": 1.0, "twin": -1.0, "user": 0.0}, levels_of(made))
    assert (composed.margin, composed.cells) == (0.0, 3)


def test_standards_differ_where_many_small_ones_outweigh_a_first_one():
    by_id = {
        name: principle(name, weight=weight) for name, weight in zip("abc", (3, 2, 2), strict=True)
    }
    rule = Rule(by_id, frozenset(), 0, "agree", None, "mean")
    standards = standards_of({"a": 1, "b": -1, "c": -1}, rule, levels_of(list(by_id.values())))
    assert standards == {"unanimous": 0, "priorities": 1, "weights": -1}
