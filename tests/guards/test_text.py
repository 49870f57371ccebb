"""Text from outside: what shows nothing, and what no file can hold."""

from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.text import (
    is_visible,
    number_from,
    read_count,
    replace_surrogates,
    spell_controls,
)

FAMILY = "\U0001f468\u200d\U0001f469"


@given(
    st.text(st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\u202e\u2066 \t\n\x00\x1b\u3164"))
)
def test_marks_and_blanks_alone_show_nothing(text):
    assert not is_visible(text)
    assert is_visible(f"{text}a{text}")


@pytest.mark.parametrize("text", ["a", "0", "。", "א", "😀", "\ud83d", FAMILY, "é", "_"])
def test_letters_of_all_kinds_are_visible(text):
    assert is_visible(text)


@given(st.text(st.characters()))
def test_what_is_replaced_or_spelt_can_be_written(text):
    replace_surrogates({text: [text]})[replace_surrogates(text)][0].encode()
    shown = spell_controls(text)
    shown.encode()
    assert "\x1b" not in shown and "\u202e" not in shown


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "abc", "", "\u00b2"])
def test_a_count_in_a_command_is_a_whole_number_from_one(text):
    with pytest.raises(ArgumentTypeError, match="whole number from 1"):
        read_count(text)
    assert read_count("12") == 12


def test_a_number_in_a_command_lies_within_its_bounds():
    read = number_from(0, 1)
    assert [read(text) for text in ("0", "0.25", "1")] == [0, 0.25, 1]
    for text in ("-0.1", "5", "nan", "abc", ""):
        with pytest.raises(ArgumentTypeError, match=f"from 0 to 1, not '{text}'"):
            read(text)
    with pytest.raises(ArgumentTypeError, match=r"of 0\.1 or more, not 'inf'"):
        number_from(0.1)("inf")
