"""Do reward models follow principles? The tests asked of models whose answers are known."""

import asyncio
import io
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import STAGES
from stages.evaluation.rewards import exam, reward_accuracy
from stages.evaluation.rewards.cells import ask, read_cells
from stages.evaluation.rewards.labelled_pairs import PAIRS
from stages.evaluation.rewards.lists import agreeing_lists, distractor_lists
from stages.evaluation.rewards.reward_tests import TESTS, count
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.principles.constitution import Principle
from stages.report.evidence.reward_models import reward_models_view
from stages.runtime.artifacts import Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.rows import Judgement, Pair
from stages.runtime.store import CallStore
from stages.runtime.typed_config import parse_config
from stages.training.reward_models.format import make_format, write_format
from tests.preferences.matrices import artifact, cells, constitution
from tests.running import fake_model
from tests.training.conftest import pair

NAMES = [f"p{i}" for i in range(5)]


def principles(opposites=True):
    return {
        name: Principle(
            id=name,
            text=f"Keep {name}.",
            opposite=f"Break {name}." if opposites else None,
            dimension=name,
        )
        for name in NAMES
    }


def matrix(verdicts):
    """A pair for every dict of principle -> +1, -1, or 0 for no verdict."""
    rows = []
    for i, of_pair in enumerate(verdicts):
        margins = {name: (2.0 * value, 1.0 * value) for name, value in of_pair.items()}
        rows += cells(f"a{i}|b{i}", margins, (f"a{i}", f"b{i}"), f"request {i}")
    return rows


def obedient(verdicts, forgets=()):
    """A model that follows each text and adds up over several, except those that it `forgets`."""

    def difference(question):
        sides = verdicts[int(question.a[1:])]
        total = 0.0
        for text in question.texts:
            verb, name = text.rstrip(".").split()
            total += 0.0 if name in forgets else sides[name] * (1 if verb == "Keep" else -1)
        return total

    return difference


verdict = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([-1, 0, 1]), min_size=1)
tables = st.lists(verdict.filter(lambda sides: any(sides.values())), min_size=1, max_size=6)


def count_tests(verdicts, answer, held_out=(), size=3):
    decided, undecided = read_cells(matrix(verdicts), principles(), None, 0.0)
    return count(
        decided,
        agreeing_lists(decided, size, 7),
        distractor_lists(decided, undecided, size, 7),
        set(held_out),
        answer,
    )


@settings(max_examples=60)
@given(tables)
def test_a_model_that_follows_its_principles_is_right_everywhere(verdicts):
    counts = count_tests(verdicts, obedient(verdicts), NAMES[:2])
    assert counts.keys() == set(TESTS)
    assert all(value == 1.0 for values in counts.values() for _, value in values)
    mixed = [sides for sides in verdicts if {-1, 1} <= set(sides.values())]
    assert len(counts["flipped"]) == len(counts["both right"]) == len(mixed)
    speaking = sum(value != 0 for sides in verdicts for value in sides.values())
    assert len(counts["all"]) == speaking == len(counts["negated"]) == len(counts["turned"])
    assert len(counts["held out"]) == 2 * sum(
        bool(sides.get(name)) for sides in verdicts for name in NAMES[:2]
    )
    assert len(counts["one of a list, first"]) == sum(0 in sides.values() for sides in verdicts)


@settings(max_examples=60)
@given(tables, st.randoms())
def test_a_model_that_reads_no_principles_gets_one_half_where_they_disagree(verdicts, dice):
    taste = {f"a{i}": dice.choice([-1.0, 1.0]) for i in range(len(verdicts))}
    counts = count_tests(verdicts, lambda question: taste[question.a])
    assert all(value == 0.5 for _, value in counts["flipped"])
    assert all(value == 0.0 for name in ("both right", "turned") for _, value in counts[name])
    for (_, plain), (_, negated) in zip(counts["all"], counts["negated"], strict=True):
        assert plain + negated == 1.0
    indifferent = count_tests(verdicts, lambda question: 0.0)
    assert all(
        value == 0.5
        for name in ("all", "flipped", "negated", "lists")
        for _, value in indifferent[name]
    )
    assert all(value == 0.25 for _, value in indifferent["turned"])


def test_a_model_that_reads_only_the_end_of_a_list_fails_where_the_principle_is_first():
    verdicts = [{"p0": 1, "p1": 0, "p2": 0}, {"p3": -1, "p4": 0}]
    whole = obedient(verdicts)
    counts = count_tests(
        verdicts, lambda question: whole(replace(question, texts=question.texts[-1:]))
    )
    assert {value for _, value in counts["one of a list, last"]} == {1.0}
    assert {value for _, value in counts["one of a list, first"]} == {0.5}
    long = distractor_lists(*read_cells(matrix(verdicts), principles(), None, 0.0), 3, 7)
    assert [len(texts) for _, texts, _ in long] == [3, 2] and all(
        set(texts) == set(other) for _, texts, other in long
    )


def test_held_out_principles_are_counted_alone():
    verdicts = [{"p0": 1, "p1": -1}, {"p0": 1, "p1": 1, "p2": -1}, {"p2": 1}]
    counts = count_tests(verdicts, obedient(verdicts, forgets={"p1", "p2"}), held_out={"p1", "p2"})
    assert {value for _, value in counts["held out"]} == {0.5} and len(counts["held out"]) == 8
    assert counts["held out, flipped"] == [("request 1", 0.5)]
    assert [value for _, value in counts["all"]] == [1.0, 0.5, 1.0, 0.5, 0.5, 0.5]


@settings(max_examples=40)
@given(tables, st.integers(2, 4), st.booleans())
def test_the_texts_of_a_list_agree_on_the_pair_and_are_reordered(verdicts, size, opposites):
    by_id = principles(opposites)
    decided, _ = read_cells(matrix(verdicts), by_id, None, 0.0)
    lists = agreeing_lists(decided, size, 7)
    for first, texts, other in lists:
        sides = verdicts[int(first.row.response_a[1:])]
        assert 2 <= len(texts) <= size and sorted(texts) == sorted(other) and texts != other
        for text in texts:
            verb, name = text.rstrip(".").split()
            assert sides[name] * (1 if verb == "Keep" else -1) == first.better
            assert opposites or verb == "Keep"
    able = [g for g in verdicts if sum(map(bool, g.values())) > 1] if opposites else []
    assert len(lists) == len(able) or not opposites
    reordered = agreeing_lists(decided[::-1], size, 7)  # the order of the rows has no effect
    assert {c.row.pair_id: (texts, other) for c, texts, other in lists} == {
        c.row.pair_id: (texts, other) for c, texts, other in reordered
    }


def test_a_cell_needs_a_preference():
    rows = cells(
        "a|b",
        {
            "p0": (2.0, 1.0),
            "p1": (2.0, -1.0),
            "p2": (-0.2, -0.4),
            "p3": (0.0, 0.0),
            "x": (9.0, 9.0),
        },
    )
    better = {
        cell.principle.id: cell.better for cell in read_cells(rows, principles(), None, 0.0)[0]
    }
    assert better == {"p0": 1, "p2": -1}  # orders disagree, no margin, another constitution's
    assert {c.principle.id for c in read_cells(rows, principles(), None, 0.5)[0]} == {"p0"}

    def truth(request, text):
        return SimpleNamespace(
            violations={
                "p0": text == "one",
                "p1": True,
                "p2": None if text == "one" else True,
                "p3": False,
            }
        )

    by_truth = {
        cell.principle.id: cell.better for cell in read_cells(rows, principles(), truth, 0.0)[0]
    }
    assert by_truth == {
        "p0": -1
    }  # whatever the judge says; both violate p1, p2 is unknown, none violates p3


def test_the_opposite_asks_for_the_other_side():
    cell = read_cells(cells("a|b", {"p0": (2.0, 1.0)}), principles(), None, 0.0)[0][0]
    assert (ask(cell).texts, ask(cell).better) == (("Keep p0.",), 1)
    assert (ask(cell, True).texts, ask(cell, True).better) == (("Break p0.",), -1)


# -- the stage

VERDICTS = [
    dict(zip(NAMES[:3], signs, strict=True)) | {"p3": 0}
    for signs in itertools.product([-1, 1], repeat=3)
]


class Scored:
    """Stands in for `stored_scores`: a model's scores are made by its name."""

    def __init__(self):
        self.read = {}

    def __call__(self, model, items, context, batch_size, dtype, label):
        self.read[label] = items
        texts = {"yes": 1.0, "no": -1.0}
        scores = []
        for _, response, shown in items:
            if label == "short" and response == "b7":
                scores.append(None)
                continue
            side = 1.0 if response.startswith("a") else -1.0
            score = 0.1 * side + texts.get(response, 0.0)
            for text in shown:
                verb, *_, name = text.rstrip(".").split()
                value = VERDICTS[int(response[1:])].get(name, 0) if response[1:].isdigit() else 0
                score += side * value * (1 if verb == "Keep" else -1)
            scores.append(-score if label == "cost" else score)
        return scores, {"texts": len(items), "stored": 0, "computed": len(items)}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    fake = Scored()
    monkeypatch.setattr(exam, "stored_scores", fake)

    def run(models, rows=None, pairs=None, **options):
        inputs = {}
        for name in models:
            number = len(list(tmp_path.iterdir()))
            path = fake_model(tmp_path / f"model-{name}-{number}", name.encode())
            objective = "cost" if name == "cost" else "preference"
            write_format(path, make_format(objective, name != "plain", None))
            folder = tmp_path / f"artifact-{path.name}"
            folder.mkdir()
            result = Result(metrics={"model_path": str(path)})
            inputs[name] = finish_artifact(folder, name, {}, result, {})
        if rows is not None:
            inputs["judgements"] = artifact(tmp_path, "judge", rows, Judgement)
        if pairs is not None:
            inputs["pairs"] = artifact(tmp_path, "held", pairs, Pair)
        options = {
            "constitution": constitution(tmp_path / "set.yaml", NAMES[:4]),
            "resamples": 100,
        } | options
        config = parse_config(reward_accuracy.Config, options, "it")
        here = SimpleNamespace(step="it", seed=7, release_engines=lambda: None)
        return reward_accuracy.run(config, inputs, here), fake

    return run


def test_the_first_model_is_compared_with_each_other_one(stage):
    result, fake = stage(["principled", "plain", "cost"], matrix(VERDICTS), held_out=["p1", "p2"])
    models, differences = result.metrics["models"], result.metrics["differences"]
    values = {
        name: {test: estimate["value"] for test, estimate in m["tests"].items() if estimate}
        for name, m in models.items()
    }
    assert set(values["principled"].values()) == {1.0} and values["principled"].keys() == set(TESTS)
    assert values["cost"] == values["principled"], "the lower cost is the better answer"
    assert values["plain"]["flipped"] == 0.5
    assert values["plain"]["both right"] == values["plain"]["turned"] == 0.0
    assert values["plain"]["all"] == 0.5  # of all ways to judge three principles
    assert all(texts == () for _, _, texts in fake.read["plain"])
    assert all(texts for _, _, texts in fake.read["principled"])
    assert differences.keys() == {"plain", "cost"}
    assert differences["plain"]["flipped"]["value"] == 0.5
    assert differences["cost"]["flipped"]["value"] == 0.0
    assert (
        models["principled"]["order_matters"] == 0.0 and models["principled"]["order_shift"] == 0.0
    )
    assert result.metrics["truth"] == "judge" and result.metrics["cells"] == 24
    first, second = result.tables
    assert first.columns == [
        "test",
        "principled",
        "plain",
        "cost",
        "principled less plain",
        "principled less cost",
        "prompts",
    ]
    assert [row[0] for row in first.rows] == list(TESTS)
    assert first.rows[1][4].startswith("+50.0")
    assert [row[0] for row in second.rows] == [
        "p0",
        "p1 (held out)",
        "p2 (held out)",
    ] and second.rows[0][1] == "100 / 100"


def test_held_out_pairs_bring_their_own_labels_and_wordings(stage):
    rows = [
        pair(0, "yes", "no"),
        pair(1, "no", "yes"),
        pair(2, "yes", "no", 0.5),
        pair(3, "yes", "no"),
    ]
    for row, names in zip(rows, ([], [], [], ["elsewhere"]), strict=True):
        row.principles[:] = names
    negated = pair(4, "b0", "a0")
    negated.principles[:] = ["p0"]
    negated.negated[:] = [True]
    result, fake = stage(["principled"], pairs=[*rows, negated])
    tests = result.metrics["models"]["principled"]["tests"]
    assert tests.keys() == {PAIRS} and tests[PAIRS]["n"] == 3
    assert [texts for _, _, texts in fake.read["principled"]][::2] == [
        ("The response should be good.",),
        ("The response should be good.",),
        ("Break p0.",),
    ]
    # yes over no is right, no over yes is wrong; p0 prefers b0 (-1), its opposite a0, whatever the
    # label says
    assert tests[PAIRS]["value"] == pytest.approx(1 / 3)
    assert len(result.tables) == 1


def test_sections_are_counted_as_rewardbench_does(stage):
    """By pairs within a section, and every section alike; one request may stand in two kinds."""
    rows = [
        pair(i, *("yes", "no") if i < 6 else ("no", "yes")) for i in range(10)
    ]  # the first six are right
    kinds = ["easy"] * 4 + ["hard"] * 4 + ["safe"] * 2
    more = [
        {
            "kind": kind,
            "prompt": rows[i % 4].prompt,
            "prompt_id": rows[i % 4].prompt_id,
            "principles": [],
        }
        for i, kind in enumerate(kinds)
    ]
    rows = [replace(row, **facts) for row, facts in zip(rows, more, strict=True)]
    sections = {"chat": ["easy", "hard"], "safety": ["safe"]}
    result, _ = stage(["principled"], pairs=rows, sections=sections)
    tests = {
        test: estimate["value"]
        for test, estimate in result.metrics["models"]["principled"]["tests"].items()
    }
    assert (tests["section: chat"], tests["section: safety"]) == (6 / 8, 0.0)
    counted = [(row.kind, row.prompt_id) for row in result.rows if row.test == "section: chat"]
    requests = [row.prompt_id for row in rows[:4]]
    assert counted == [(kind, request) for kind in ("easy", "hard") for request in requests]
    assert (tests["the pairs' labels: easy"], tests["the pairs' labels: hard"]) == (1.0, 0.5)
    assert result.metrics["models"]["principled"]["mean_of_sections"] == 3 / 8
    assert result.tables[0].rows[-1][:2] == ["mean of the sections", "37.5"]
    with pytest.raises(UserError, match="'maths' holds none of the pairs' kinds"):
        stage(["principled"], pairs=rows, sections={"maths": ["hep-rust"]})


def test_a_text_that_does_not_fit_is_a_tie_and_reported(stage):
    result, _ = stage(["short"], matrix(VERDICTS))
    model = result.metrics["models"]["short"]
    assert model["unread"] > 0 and model["tests"]["all"]["value"] == pytest.approx((7 + 0.5) / 8)


def test_what_cannot_be_asked_is_refused(stage):
    with pytest.raises(UserError, match=r"(?s)no reward model to test.*inputs: \{reward"):
        stage([], matrix(VERDICTS))
    with pytest.raises(UserError, match=r"no principle 'p9'"):
        stage(["principled"], matrix(VERDICTS), held_out=["p9"])
    with pytest.raises(UserError, match="there are no pairs to ask about"):
        stage(["principled"], cells("a|b", {"unknown": (1.0, 1.0)}))
    with pytest.raises(UserError, match="there are no pairs to ask about"):
        stage(["principled"])
    with pytest.raises(UserError, match="is not of the form module:function"):
        stage(["principled"], matrix(VERDICTS), ground_truth="nowhere")


def test_a_judge_that_contradicts_itself_leaves_nothing_to_ask_and_a_warning(stage):
    matrix_of_flips = cells("a|b", {"p0": (1.0, -1.0)})
    result, fake = stage(["principled", "plain"], matrix_of_flips, held_out=["p1"])
    assert result.rows == [] and result.metrics["cells"] == 0 and not result.tables
    assert "no judgement of a held-out pair prefers a response" in result.warnings[0]
    assert fake.read == {"principled": [], "plain": []}
    assert all(not model["tests"] for model in result.metrics["models"].values())
    shown = reward_models_view("it", result.metrics, {})
    assert shown["tests"] == [] and shown["headline"] is None


def test_the_variables_of_the_chat_template_identify_what_was_asked(tmp_path):
    """Its models have names of their own, so nothing but the stage itself says that they read the
    template.
    """
    steps = {
        "rm": {"stage": "model", "path": str(fake_model(tmp_path / "rm"))},
        "followed": {
            "stage": "reward_accuracy",
            "inputs": {"principled": "rm", "pairs": "people"},
            "constitution": constitution(tmp_path / "set.yaml", NAMES),
        },
        "people": {"stage": "human_pairs", "source": "a/b"},
    }
    prints = []
    store = CallStore(tmp_path / "calls.sqlite")
    with asyncio.Runner() as loop:
        for thinking in (False, True):
            engines = Engines("vllm", {"template_arguments": {"enable_thinking": thinking}})
            runner = Runner(
                tmp_path / "artifacts", 0, store, engines, open_console(file=io.StringIO()), loop, 8
            )
            prints.append(
                {p.step.name: p.fingerprint for p in runner.plan(read_steps(steps, STAGES))}
            )
    store.close()
    assert prints[0]["rm"] == prints[1]["rm"] and prints[0]["followed"] != prints[1]["followed"]
