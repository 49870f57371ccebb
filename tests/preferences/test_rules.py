"""Rules that decide a pair in place of the principles."""

import pytest

from stages.preferences.rules import apply_overrides, has_disclaimer, main_script
from stages.runtime.context import Drop

ENGLISH, RUSSIAN, JAPANESE = (
    "Tell me about the sea.",
    "Где найти тёплый ночлег?",
    "海について教えてください。お願いします。",
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("As an AI language model, I have no body.", True),
        ("I\u2019m just a chatbot.", True),
        ("I don't have personal opinions on that.", True),
        ("My knowledge cutoff is last year.", True),
        ("The AI company hired a language model expert.", False),
        ("I'm a gardener, and as an aid I use string.", False),
    ],
)
def test_stock_remarks(text, found):
    assert has_disclaimer(text) == found


def test_scripts_are_distinguished_and_languages_are_not():
    assert (main_script(ENGLISH), main_script(RUSSIAN), main_script(JAPANESE)) == (
        "LATIN",
        "CYRILLIC",
        "CJK",
    )
    assert main_script("Parlez-moi de la mer.") == "LATIN"
    assert main_script("12 + 30 = ?") == main_script("ok") == ""


def test_a_response_in_another_script_loses_always():
    rows = [f"row {i}" for i in range(20)]
    assert {
        apply_overrides(ENGLISH, "The sea is wide.", RUSSIAN, ["script"], row, 0) for row in rows
    } == {("script", True)}
    assert {
        apply_overrides(RUSSIAN, "The sea is wide.", RUSSIAN, ["script"], row, 0) for row in rows
    } == {("script", False)}
    assert (
        apply_overrides(ENGLISH, "The sea is wide.", "It is deep and blue.", ["script"], "row", 0)
        is None
    )
    assert apply_overrides(ENGLISH, "The sea is wide.", "42", ["script"], "row", 0) is None
    with pytest.raises(Drop):
        apply_overrides(ENGLISH, RUSSIAN, JAPANESE, ["script"], "row", 0)
    assert apply_overrides(ENGLISH, RUSSIAN, JAPANESE, [], "row", 0) is None


def test_both_or_none_with_a_disclaimer_is_left_to_the_principles():
    remark = "As an AI, I think so."
    for row in map(str, range(20)):
        assert apply_overrides(ENGLISH, remark, remark + " Yes.", ["disclaimer"], row, 0) is None
        assert apply_overrides(ENGLISH, "Yes.", "No.", ["disclaimer"], row, 0) is None
