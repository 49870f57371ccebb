"""Options: what each type holds, and that all faults are shown at once."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.errors import SHOWN_FAULTS, UserError
from stages.runtime.generation import Sampling
from stages.runtime.typed_config import (
    Count,
    Few,
    Fraction,
    Names,
    Part,
    Seed,
    SomeNames,
    Text,
    parse_config,
)


@dataclass(frozen=True)
class Options:
    count: Count = 1
    few: Few = 1
    whole: int = 0
    seed: Seed = 0
    fraction: Fraction = 0.5
    number: float = 0.0
    flag: bool = False
    text: Text = "x"
    names: Names = ()
    some: SomeNames = ("x",)
    part: Part = (0.0, 1.0)
    sampling: Sampling = field(default_factory=Sampling)
    perhaps: Sampling | None = None
    anything: dict[str, Any] = field(default_factory=dict)


def parse(**values):
    return parse_config(Options, values, "step 'x'")


@pytest.mark.parametrize(
    "values",
    [
        *({"count": value} for value in (0, -1, True, "5", 1.0, 1.5, None, [1], 10**30, math.nan)),
        *({"few": value} for value in (0, 10_001, 10**9, False)),
        *({"whole": value} for value in (2**63, -(2**63) - 1, "1", True)),
        *({"seed": value} for value in (-1, 2**32, 0.5)),
        *({"fraction": value} for value in (-0.1, 1.1, 1e30, math.nan, math.inf, "0.5", True)),
        *({"number": value} for value in (math.inf, -math.inf, math.nan, 10**400, "1", None)),
        *({"flag": value} for value in (0, 1, "true", "yes", None, [True])),
        *({"text": value} for value in ("", " \n\t", 3, None, True, b"x", "a\0", "\ud800")),
        *({"names": value} for value in (["a", "a"], [""], [1], {"a": 1}, [["a"]], [None], 3)),
        *({"some": value} for value in ([], "", None)),
        *({"part": value} for value in ([0.5, 0.1], [0.5, 0.5], [0], [0, 2], [-1, 1], 0.5)),
        *({"sampling": value} for value in ({"max_tokens": 0}, {"top_p": 0}, {"temperature": -1})),
        *({"sampling": value} for value in ({"stop": [""]}, {"stop": "a"}, [], {"temprature": 1})),
        *({"perhaps": value} for value in ({"temprature": 1}, {"top_p": 0}, [], 1)),
        *(
            {"anything": value}
            for value in ({"a": [math.nan]}, {"a": {1, 2}}, {"a": b""}, {(1,): 2})
        ),
    ],
    ids=lambda values: ascii(values)[:60],
)
def test_what_no_option_holds(values):
    (option,) = values
    with pytest.raises(UserError, match=rf"step 'x': .*{option}") as caught:
        parse(**values)
    assert len(str(caught.value)) < 1000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.sampled_from(["count", "fraction", "flag", "text", "names", "part", "sampling", "anything"]),
)
def test_any_value_is_held_or_refused(value, option):
    try:
        parse(**{option: value})
    except UserError as error:
        assert len(str(error)) < 5000


def test_a_deep_value_is_refused():
    value: Any = 1
    for _ in range(900):
        value = [value]
    with pytest.raises(UserError, match="levels"):
        parse(anything={"a": value})


def test_all_faults_are_shown_with_short_values_and_no_secret():
    with pytest.raises(UserError) as caught:
        parse(count=0, fraction="x" * 10**6, nmaes=[], flag=3, sampling={"top_p": 2, "tpo": 1})
    text = str(caught.value)
    assert text.startswith("6 faults:\n1. ") and len(text) < 3000
    for option in ("'count'", "'fraction'", "'nmaes'. Did you mean", "'flag'", "'sampling.top_p'"):
        assert option in text
    with pytest.raises(UserError) as caught:
        parse_config(Secret, {"api_key": {"x": "topsecret123"}}, "x")
    assert "topsecret123" not in str(caught.value)


@dataclass(frozen=True)
class Secret:
    api_key: str = ""


def test_of_many_faults_the_first_are_shown_and_the_rest_is_counted():
    with pytest.raises(UserError) as caught:
        parse(**{f"unknown_{number}": 1 for number in range(50)})
    assert f"and {50 - SHOWN_FAULTS} more" in str(caught.value)


def test_the_same_fault_at_several_steps_is_one():
    from stages.guards.errors import Faults

    faults = Faults()
    for name in "abc":
        with faults.gather(f"step {name!r}"):
            raise UserError("no good", fix="mend it")
    with pytest.raises(UserError, match=r"^step 'a'; step 'b'; step 'c': no good\n  Fix: mend it$"):
        faults.raise_any()
