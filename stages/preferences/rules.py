"""Rules that decide a pair in place of the principles: SALMON's (section 4.3).

`disclaimer`: a response that says it is an AI loses, if the other does not, in half of the cases
(if it always lost, the model would learn to deny what it is). `script`: a response in another
writing system than the request's loses; if both are, the pair is dropped. The patterns are our own.

`script` looks at letters only: it separates Russian from English, not French from English. SALMON
asks a language identifier (fastText), whose weights we neither ship nor download. SALMON flips a
quarter of the labels that a rule gave (`override_noise` of `judged_pairs`), and a tenth of the
others (`noise`).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from stages.runtime.context import Drop
from stages.runtime.store import derive_fraction

_MACHINE = (
    r"(?:(?:large )?language model|ai|artificial intelligence"
    r"|ai (?:assistant|model|language model)|chatbot|machine)"
)
_DISCLAIMERS = re.compile(
    rf"\bas an? {_MACHINE}\b"
    rf"|\bi(?:'| a)m (?:just |only |merely )?an? {_MACHINE}\b"
    r"|\bi (?:do not|don't|cannot|can't) have (?:personal )?"
    r"(?:opinions|feelings|beliefs|emotions|experiences)\b"
    r"|\bmy (?:knowledge|training)(?: data)? (?:cut-?off|ends|was last)\b",
    re.IGNORECASE,
)
# Japanese mixes its scripts with Chinese characters.
_MERGED_SCRIPTS = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}
_MIN_LETTERS = 8


class Override(NamedTuple):
    """A rule's decision."""

    rule: str
    a_wins: bool


def apply_overrides(
    request: str, a: str, b: str, rules: Sequence[str], row_id: str, seed: int
) -> Override | None:
    """Return the decision of the rules on responses `a` and `b`; None where no rule decides.

    It does not depend on the principles. Where both rules would decide, `script` decides.

    Raises:
        Drop: both responses are in another script than the request.
    """
    if "script" in rules:
        expected = main_script(request)
        wrong_a = _is_in_another_script(a, expected)
        wrong_b = _is_in_another_script(b, expected)
        if wrong_a and wrong_b:
            raise Drop("both in another script than the request")
        if wrong_a != wrong_b:
            return Override("script", wrong_b)
    if "disclaimer" in rules:
        disclaimer_a = has_disclaimer(a)
        disclaimer_b = has_disclaimer(b)
        if disclaimer_a != disclaimer_b and derive_fraction(seed, row_id, "disclaimer") < 0.5:
            return Override("disclaimer", disclaimer_b)
    return None


def has_disclaimer(text: str) -> bool:
    """Return whether a text has one of the usual remarks that it is written by an AI."""
    return _DISCLAIMERS.search(text.replace("\u2019", "'")) is not None


def main_script(text: str) -> str:
    """Return the script of most letters, such as LATIN; "" where there are too few letters."""
    counts: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            name = unicodedata.name(character, "").split(" ")[0].split("-")[0]
            counts[_MERGED_SCRIPTS.get(name, name)] += 1
    if counts.total() < _MIN_LETTERS:
        return ""
    return max(counts, key=lambda name: (counts[name], name))


def _is_in_another_script(text: str, expected: str) -> bool:
    script = main_script(text)
    return bool(expected and script and script != expected)
