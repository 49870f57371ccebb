"""What may be an answer: one check for engines and for the store."""

import math
from dataclasses import asdict, replace

import pytest

from stages.runtime.generation import Choice, Completion, as_choice, as_completion

ANSWER = Completion("fine", "stop", 3, 2, "Hm.")
CHOICE = Choice([math.log(0.75), math.log(0.25)], 0.4, True, "<think>", 0.1)
NOT_A_COUNT = [-1, 2**60, 1.5, 2.0, math.inf, math.nan, "3", None, True, [1]]
NOT_A_TEXT = [None, 7, ["fine"], {"text": "fine"}, b"fine", True]
NOT_A_NUMBER = [math.nan, math.inf, -math.inf, 0.7, "0", None, True, [-1.0]]
NOT_AN_ANSWER = [
    None,
    7,
    "fine",
    [],
    {},
    {"text": "fine"},
    asdict(ANSWER) | {"more": 1},
    Completion,
]


def test_what_is_an_answer_comes_back_as_it_is():
    assert as_completion(ANSWER) == as_completion(asdict(ANSWER)) == ANSWER
    assert as_choice(CHOICE, 2) == as_choice(asdict(CHOICE)) == CHOICE
    assert as_choice([-0.1, -2.4]).logprobs == [-0.1, -2.4]
    assert as_completion(replace(ANSWER, text="half \ud83d")).text == "half \ufffd"


@pytest.mark.parametrize(
    "fields",
    [
        *[{"text": value} for value in NOT_A_TEXT],
        *[{"thoughts": value} for value in NOT_A_TEXT],
        *[{"finish_reason": value} for value in (*NOT_A_TEXT, "error", "", "STOP")],
        *[{"prompt_tokens": value} for value in NOT_A_COUNT],
        *[{"completion_tokens": value} for value in NOT_A_COUNT],
    ],
    ids=str,
)
def test_what_is_no_completion_is_refused(fields):
    for value in (replace(ANSWER, **fields), asdict(ANSWER) | fields):
        with pytest.raises(ValueError, match=next(iter(fields))):
            as_completion(value)


@pytest.mark.parametrize(
    "fields",
    [
        *[{"logprobs": [math.log(0.75), value]} for value in NOT_A_NUMBER],
        *[{"logprobs": value} for value in ([], None, "AB", {"A": -1.0}, -1.0, 7)],
        *[{"mass": value} for value in (-0.1, 1.1, math.nan, math.inf, "1", True)],
        *[{"unknown": value} for value in (-0.1, 1.1, math.nan, None, "1")],
        *[{"bounded": value} for value in (None, 1, "yes")],
        *[{"instead": value} for value in NOT_A_TEXT],
    ],
    ids=str,
)
def test_what_is_no_choice_is_refused(fields):
    for value in (replace(CHOICE, **fields), asdict(CHOICE) | fields):
        with pytest.raises(ValueError, match=next(iter(fields))):
            as_choice(value)


def test_options_that_do_not_add_up_or_are_too_few_are_refused():
    with pytest.raises(ValueError, match=r"add up to 0\.5"):
        as_choice([math.log(0.25), math.log(0.25)])
    with pytest.raises(ValueError, match="2 log-probabilities for 3 options"):
        as_choice(CHOICE, 3)


@pytest.mark.parametrize("value", NOT_AN_ANSWER, ids=str)
def test_what_is_no_answer_at_all_is_refused(value):
    for check in (as_completion, as_choice):
        with pytest.raises(ValueError):
            check(value)
