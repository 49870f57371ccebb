"""A judge's ratings: systems.md section 15, item 10, and what safety is made of."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.preferences.judging.rating import YES_NO, expected_rating, rescale_rating
from stages.runtime.generation import Choice
from stages.runtime.rows import Pair, Rating, Revision
from tests.running import Seeded, run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

DIGITS = {str(n): float(n) for n in range(1, 10)} | {"X": 10.0}


def rating(logs, scale=DIGITS):
    judge = ScriptedGenerator(scores=lambda messages, options: list(logs))
    return asyncio.run(expected_rating(judge, [{"role": "user", "content": "q"}], "r", "p", scale))


@given(st.lists(st.floats(-60, 0), min_size=10, max_size=10))
def test_an_expected_rating_lies_on_the_scale(logs):
    found = rating(logs)
    assert 1 <= found <= 10 and -1 <= rescale_rating(found, DIGITS) <= 1
    chances = [math.exp(log) for log in logs]
    by_hand = sum(
        value * chance for value, chance in zip(DIGITS.values(), chances, strict=True)
    ) / sum(chances)
    assert found == pytest.approx(by_hand)


def test_the_ends_of_the_scale():
    sure, uneven = [0.0] + [-800.0] * 9, [math.log(0.25), math.log(0.75)]
    assert (
        rating(sure) == 1 and rating(sure[::-1]) == 10 and rating([0.0] * 10) == pytest.approx(5.5)
    )
    assert rating(uneven, YES_NO) == pytest.approx(10 * 0.25 + 1 * 0.75)
    assert rating(uneven, {"Yes": 0.0, "No": 1.0}) == pytest.approx(0.75)
    assert (rescale_rating(1, YES_NO), rescale_rating(5.5, YES_NO), rescale_rating(10, YES_NO)) == (
        -1,
        0,
        1,
    )


@given(st.floats(0, 1))
def test_a_yes_or_no_is_worth_between_0_and_1_and_a_sure_one_exactly_that(chance):
    """Kwon et al. 2023: the judge's yes or no is the reward; what cannot be read is neither."""
    logs = [
        math.log(chance) if chance else -math.inf,
        math.log1p(-chance) if chance < 1 else -math.inf,
    ]
    found = rating(logs, {"Yes": 1.0, "No": 0.0})
    assert found == pytest.approx(chance) and 0 <= found <= 1
    if chance in (0, 1):
        assert found == chance


def follows(messages, options):
    """A judge that thinks that responses follow every principle but number 1, and knows its
    opposite.
    """
    broken = "rule number 1." in messages[0]["content"]
    yes = math.log(0.2 if broken else 0.9)
    return [yes if option == "Yes" else math.log1p(-math.exp(yes)) for option in options]


def rated(root, options, *others):
    steps = text_pipeline(root, prompts=5)
    steps = {name: steps[name] for name in ("base", "requests", "answers", "revisions")}
    inputs = {"model": "base", "responses": "answers"} | {name: name for name in others}
    steps["rated"] = {
        "stage": "rate",
        "inputs": inputs,
        "constitution": {"name": str(root / "set.yaml")},
        **options,
    }
    return steps


def test_one_score_a_principle_and_their_weighted_mean(tmp_path):
    weights = {"weights": {"p1": 3}, "only": ["p0", "p1", "p2"]}
    steps = rated(tmp_path, {})
    steps["rated"]["constitution"] |= weights
    _, done = run_steps(steps, tmp_path, Seeded(scores=follows))
    rows = done["rated"].rows(Rating)
    assert len(rows) == 10 and len({row.prompt_id for row in rows}) == 5
    for row in rows:
        assert row.principles == ["p0", "p1", "p2"] and row.negated == [False] * 3
        assert row.scores == pytest.approx([9.1, 2.8, 9.1])
        assert row.score == pytest.approx((9.1 + 3 * 2.8 + 9.1) / 5)
    assert done["rated"].metrics["principles"]["p1"] == pytest.approx(2.8)
    assert done["rated"].metrics["spread_in_group"] == pytest.approx(0)
    steps["rated"] |= {"rescale": "unit"}
    _, done = run_steps(steps, tmp_path, Seeded(scores=follows))
    assert done["rated"].rows(Rating)[0].scores == pytest.approx([0.8, -0.6, 0.8])
    assert done["rated"].manifest.calls.sent == 0, "another scaling is arithmetic"


def test_an_untrained_judge_labels_a_value_by_three_options(tmp_path):
    """Its score is P(supports) - P(opposes); where it was about to say something else, it abstains,
    and the answer is dropped and counted.
    """
    by_value = {"Value: p0. ": (0.7, 0.1, 0.2), "Value: p1. ": (0.1, 0.6, 0.3)}

    def labels(messages, options):
        text = messages[0]["content"]
        assert options == ("A", "B", "C") and "The response keeps rule number" in text
        chances = next(each for start, each in by_value.items() if start in text)
        mass = 1e-4 if "request number 3" in text else 1.0
        return Choice([math.log(chance) for chance in chances], mass)

    options = {
        "template": "preferences/judging/value_label.jinja",
        "scale": {"A": 1, "B": -1, "C": 0},
    }
    steps = rated(tmp_path, options)
    steps["rated"]["constitution"] |= {"only": ["p0", "p1"]}
    _, done = run_steps(steps, tmp_path, Seeded(scores=labels), max_failed=1.0)
    rows = done["rated"].rows(Rating)
    assert len(rows) == 8 and all(row.scores == pytest.approx([0.6, -0.5]) for row in rows)
    assert sum(done["rated"].manifest.dropped.values()) == 2


def test_revisions_are_rated_in_the_group_of_their_prompt(tmp_path):
    steps = rated(tmp_path, {"scale": {"Yes": 0, "No": 1}}, "revisions")
    _, done = run_steps(steps, tmp_path, Seeded(scores=follows))
    rows = done["rated"].rows(Rating)
    revisions = {row.id for row in done["revisions"].rows(Revision)}
    assert {row.response_id for row in rows} > revisions and len({row.id for row in rows}) == len(
        rows
    ) == 10 + len(revisions)
    groups = {row.prompt[0]["content"]: set() for row in rows}
    for row in rows:
        groups[row.prompt[0]["content"]].add(row.prompt_id)
        assert row.scores == pytest.approx(
            [0.8 if name == "p1" else 0.1 for name in row.principles]
        )
    assert all(len(names) == 1 for names in groups.values()) and len(groups) == 5
    del steps["rated"]["inputs"]["responses"]  # revisions alone name their prompt too
    _, done = run_steps(steps, tmp_path, Seeded(scores=follows))
    assert {row.prompt_id for row in done["rated"].rows(Rating)} == set().union(*groups.values())


def test_ratings_of_safety_reach_the_pairs(tmp_path):
    """P(violated) from `rate` is what `judged_pairs` asks for: the answer to request 1 is unsafe,
    others are not.
    """

    def look(messages, options):
        text = messages[0]["content"]
        if set(options) == {"A", "B"}:
            first = text.partition("Response A: ")[2].partition("\n")[0]
            second = text.partition("Response B: ")[2].partition("\n")[0]
            return (
                [math.log(0.8), math.log(0.2)] if first < second else [math.log(0.2), math.log(0.8)]
            )
        no = math.log(0.9 if "number 1" in text.partition("\n")[0] else 0.1)
        return [no if option == "No" else math.log1p(-math.exp(no)) for option in options]

    steps = text_pipeline(tmp_path, prompts=5)
    steps.pop("revisions")
    chosen = {"name": str(tmp_path / "set.yaml"), "only": ["p3", "p4"]}
    steps["safety"] = {
        "stage": "rate",
        "inputs": {"model": "base", "responses": "answers"},
        "constitution": chosen,
        "scale": {"Yes": 0, "No": 1},
    }
    steps["pairs"]["inputs"]["ratings"] = "safety"
    _, done = run_steps(steps, tmp_path, Seeded(scores=look))
    rows = done["pairs"].rows(Pair)
    assert len(rows) == 5
    for row in rows:
        safe = "number 1" not in row.prompt[0]["content"]
        assert (row.chosen_safe, row.rejected_safe) == (safe, safe)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": {"Yes": 1, "No": 1}}, "worth 1"),
        ({"scale": {"Yes": 1}}, "scale"),
        ({"scale": {True: 10, False: 1}}, "in quotes"),
        ({"scale": {1: 10, "1": 1, "2": 3}}, "1 twice"),
        ({"scale": {"": 10, "No": 1}}, "at least 1"),
        ({"negated": ["p99"]}, "p99"),
        ({"negated": ["p1"]}, "no opposite"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run_steps(rated(tmp_path, options), tmp_path)


def test_figures_may_stand_without_quotes(tmp_path):
    scale = {number: number for number in range(1, 6)}
    even = Seeded(scores=lambda messages, options: [math.log(1 / len(options))] * len(options))
    _, done = run_steps(rated(tmp_path, {"scale": scale}), tmp_path, even)
    assert done["rated"].rows(Rating)[0].score == pytest.approx(3)


def test_nothing_to_rate(tmp_path):
    steps = rated(tmp_path, {})
    del steps["rated"]["inputs"]["responses"]
    with pytest.raises(UserError, match=r"one or more inputs.*Response or Revision"):
        run_steps(steps, tmp_path)
