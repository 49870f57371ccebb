"""The readings, the verdicts and the thresholds of a judge's examination, computed another way."""

from itertools import product
from math import exp, log

import numpy as np
import pytest
from scipy.stats import spearmanr

from stages.evaluation.instrument.calibration import (
    calibrate,
    threshold_of_examination,
    violation_threshold,
)
from stages.evaluation.instrument.readings import read_answers, turning
from stages.evaluation.instrument.verdict import (
    ABLE,
    DEBIASED,
    NOT_ABLE,
    THRESHOLDS,
    UNDECIDED,
    judge_form,
)
from stages.runtime.rows import Question


def question(request: int, form: str, wording: str, place: str, log_odds: float, **fields):
    facts = {
        "id": f"{request}/{form}/{wording}/{place}",
        "prompt_id": f"r{request}",
        "kind": "red_team",
        "prompt": [],
        "form": form,
        "contrast": "natural",
        "wording": wording,
        "place": place,
        "first": "x",
        "second": "y",
        "principle": "p",
        "text": "t",
        "log_odds": log_odds,
        "mass": 0.9,
        "model": "m",
    }
    return Question(**facts | fields)


def test_turning_is_minus_spearmans_correlation_with_fishers_interval():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = -x + rng.normal(size=40)
    estimate = turning(list(x), list(y))
    assert estimate.value == pytest.approx(-spearmanr(x, y).statistic)
    z, half = np.arctanh(estimate.value), 1.959964 / np.sqrt(37)
    assert (estimate.low, estimate.high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)))
    assert turning([1.0] * 40, list(y)).value == 0, "an answer that never varies shows nothing"
    assert turning([1.0, 2.0], [2.0, 1.0]) is None


def test_choices_are_read_in_both_orders():
    """Four requests; the judge gives the first place 3 nats and the first answer `content`."""
    contents = [1.0, 4.0, 5.0, -6.0]
    rows = []
    for i, content in enumerate(contents):
        for wording, sign in (("principle", 1), ("opposite", -1)):
            rows.append(question(i, "choices", wording, "ab", 3 + sign * content))
            rows.append(question(i, "choices", wording, "ba", 3 - sign * content))
    reading = read_answers(rows)["choices"]
    # by hand: only the request with |content| < 3 flips, under both wordings
    assert reading["flips"]["value"] == 0.25 and reading["flips"]["n"] == 4
    assert reading["flips_clear"]["value"] == 0, "the clear half are the requests with 5 and 6"
    assert reading["flips_clear"]["n"] == 2
    assert reading["first"]["value"] == (4 + 2 + 2 + 2) / 16
    assert reading["turning"]["value"] == pytest.approx(1.0)
    assert reading["mass"] == {"median": 0.9, "low": 0.0, "n": 16}
    assert reading["spread"]["answers"] == pytest.approx(np.std(contents, ddof=1))


def test_yes_or_no_is_balanced_by_opposites():
    rows = []
    for i in range(4):
        for (wording, sign), place in product((("principle", 1), ("opposite", -1)), "ab"):
            log_odds = -6 + sign * (2 + i if place == "a" else 1)
            rows.append(question(i, "yes_no", wording, place, log_odds))
    reading = read_answers(rows)["yes_no"]
    assert reading["yes"]["value"] == 0.0, "up to 5 never outweighs 6"
    assert reading["prior"]["value"] == pytest.approx(-6), "its leaning, whatever the answers are"
    assert reading["turned"]["value"] == 1, "around the middle of all, whatever the judge leans to"
    assert reading["turning"]["value"] == pytest.approx(1.0), "the differences turn all the same"


def test_what_is_asked_again_and_what_is_planted():
    rows = [question(0, "choices", "principle", "ab", 2.0)]
    rows += [question(0, "choices", "principle", "ba", -2.0)]
    rows += [question(0, "choices", "paraphrase", "ab", -1.0)]
    rows += [question(0, "choices", "paraphrase", "ba", 3.0)]
    rows += [question(0, "choices", "repeat", "ab", 1.5)]
    rows += [question(0, "choices", "principle", "ab", 1.0, contrast="empty")]
    rows += [question(0, "choices", "principle", "ba", 3.0, contrast="empty")]
    rows += [question(1, "choices", "principle", "ab", 1.0, contrast="people")]
    rows += [question(1, "choices", "principle", "ba", -1.0, contrast="people")]
    reading = read_answers(rows)["choices"]
    assert reading["paraphrase"]["value"] == 0, "(2 - -2) / 2 against (-1 - 3) / 2"
    assert reading["repeat"]["value"] == 1
    assert reading["planted"]["empty"]["value"] == 0 == reading["planted"]["all"]["value"]
    assert reading["people"]["value"] == 1
    assert reading["planted"]["shuffled"] is None


def estimate(value: float, half: float = 0.1, n: int = 32) -> dict:
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def reading(**changes) -> dict:
    """A judge without fault."""
    planted = dict.fromkeys(("empty", "shuffled", "other request"))
    good = {
        "mass": {"median": 0.99, "low": 0.0, "n": 700},
        "turning": estimate(0.8),
        "first": estimate(0.5),
        "flips_clear": estimate(0.1),
        "yes": estimate(0.5),
        "turned": estimate(0.9),
        "prior": estimate(0.0, 0.3),
        "paraphrase": estimate(0.95),
        "repeat": estimate(1.0),
        "planted": planted | {"contrary": estimate(0.9), "all": estimate(0.9)},
        "people": None,
    }
    return good | changes


@pytest.mark.parametrize("form", ["choices", "yes_no"])
@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, ABLE),
        ({"turning": estimate(0.05, 0.35)}, NOT_ABLE),
        ({"turning": estimate(-0.9)}, NOT_ABLE),
        ({"turning": estimate(0.4, 0.45), "turned": estimate(0.5)}, UNDECIDED),
        ({"turning": estimate(0.9, 0.05, n=12)}, UNDECIDED),
        ({"turning": estimate(-0.9, 0.05, n=12)}, UNDECIDED),
        ({"mass": {"median": 0.001, "low": 1.0, "n": 9}}, NOT_ABLE),
        ({"mass": {"median": 0.2, "low": 0.1, "n": 9}}, DEBIASED),
        ({"people": estimate(0.45, 0.1, n=40)}, NOT_ABLE),
        ({"turning": None, "people": estimate(0.7, 0.1, n=40)}, ABLE),
        ({"turning": None}, UNDECIDED),
    ],
)
def test_the_verdicts(form, changes, verdict):
    judged = judge_form(form, reading(**changes))
    assert judged.verdict == verdict
    assert judged.reasons and (judged.advice or verdict == ABLE)


def test_biases_and_directions():
    assert judge_form("choices", reading(first=estimate(0.9))).verdict == DEBIASED
    assert judge_form("choices", reading(flips_clear=estimate(0.5))).verdict == DEBIASED
    assert judge_form("yes_no", reading(first=estimate(0.9))).verdict == ABLE, "no place there"
    assert judge_form("yes_no", reading(yes=estimate(0.97))).verdict == DEBIASED
    leans = judge_form("yes_no", reading(prior=estimate(-1.5, 0.4)))
    assert leans.verdict == DEBIASED and "lean to No: " in leans.reasons[-1]
    assert judge_form("yes_no", reading(prior=estimate(1.5, 0.6))).verdict == ABLE, "not shown"
    assert judge_form("choices", reading(prior=estimate(-9.0))).verdict == ABLE
    little = reading(turning=estimate(0.3, 0.25))
    assert judge_form("yes_no", little).verdict == ABLE
    assert judge_form("yes_no", little | {"turned": estimate(0.5)}).verdict == UNDECIDED
    wrong = reading()["planted"] | {"contrary": estimate(0.2)}
    assert judge_form("choices", reading(planted=wrong)).verdict == NOT_ABLE


def test_twelve_perfect_questions_never_decide():
    """Nor do twelve wrong ones; from LEAST on they do."""
    for n in (4, 12, THRESHOLDS.least - 1, THRESHOLDS.least):
        rows = []
        for i in range(n):
            for wording, sign in (("principle", 1), ("opposite", -1)):
                rows.append(question(i, "choices", wording, "ab", sign * (i - n / 2 + 0.25)))
                rows.append(question(i, "choices", wording, "ba", -sign * (i - n / 2 + 0.25)))
        verdict = judge_form("choices", read_answers(rows)["choices"]).verdict
        assert (verdict == ABLE) == (n >= THRESHOLDS.least)


def test_a_calibrated_probability():
    threshold = violation_threshold(-4.0)  # of a judge that leans to No by 4 nats
    assert threshold == pytest.approx(1 / (1 + exp(-4)))
    assert calibrate(threshold, threshold) == pytest.approx(0.5)
    p = 0.97
    assert calibrate(p, threshold) == pytest.approx(1 / (1 + exp(-(log(p / (1 - p)) - 4))))
    assert [calibrate(each, threshold) for each in (0.0, 1.0)] == [0.0, 1.0]
    assert calibrate(p, 0.5) == p


def test_when_the_threshold_of_an_examination_is_used():
    form = {"verdict": DEBIASED, "prior": estimate(-4.0)}
    moved = violation_threshold(-4.0)
    assert threshold_of_examination({"yes_no": form}, "when_biased") == moved
    assert threshold_of_examination({"yes_no": form}, "never") == 0.5
    able = {"yes_no": form | {"verdict": ABLE, "prior": estimate(-1.0, 0.3)}}
    assert threshold_of_examination(able, "when_biased") == 0.5
    assert threshold_of_examination(able, "always") == violation_threshold(-1.0)
    for verdict, threshold in ((UNDECIDED, moved), (NOT_ABLE, 0.5)):
        other = {"yes_no": form | {"verdict": verdict}}
        assert threshold_of_examination(other, "when_biased") == threshold
    few = {"yes_no": form | {"prior": estimate(-4.0, n=12)}}
    assert threshold_of_examination(few, "when_biased") == 0.5, "a dozen requests decide nothing"
    little_mass = {"yes_no": form | {"prior": estimate(-0.4, 0.2)}}
    assert threshold_of_examination(little_mass, "when_biased") == 0.5, "biased in another way"
    assert threshold_of_examination({"yes_no": form | {"prior": None}}, "always") == 0.5
