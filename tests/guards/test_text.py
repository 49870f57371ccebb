"""Text from outside: what shows nothing, and what no file can hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.text import is_visible, replace_surrogates, spell_controls

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
