"""Rules that decide a pair in place of the principles, and noise: SALMON's, section 4.3 of its
released recipe.

`disclaimer`: a response that talks of being a machine where the other does not loses, in half of
    the cases (one that
always lost would teach the model to deny what it is). `script`: a response in another writing
system than the request's loses; a pair in which both are is dropped. The patterns are our own.

`script` looks at letters only: it tells Russian from English, not French from English. SALMON asks
a language identifier (fastText), whose weights we neither ship nor download.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from stages.preferences.salmon import chance

_MACHINE = r"(?:(?:large )?language model|ai|artificial intelligence|ai (?:assistant|model|language model)|chatbot|machine)"
_DISCLAIMERS = re.compile(
    rf"\bas an? {_MACHINE}\b"
    rf"|\bi(?:'| a)m (?:just |only |merely )?an? {_MACHINE}\b"
    r"|\bi (?:do not|don't|cannot|can't) have (?:personal )?(?:opinions|feelings|beliefs|emotions|experiences)\b"
    r"|\bmy (?:knowledge|training)(?: data)? (?:cut-?off|ends|was last)\b",
    re.IGNORECASE,
)
_JAPANESE_TOO = {
    "HIRAGANA": "CJK",
    "KATAKANA": "CJK",
}  # Japanese mixes them with Chinese characters
_FEWEST_LETTERS = 8


class Unusable(Exception):
    """Raised where a rule says that neither side of a pair should be learnt; its text is the
    reason.
    """


def overridden(
    request: str, a: str, b: str, rules: Sequence[str], row_id: str, seed: int
) -> tuple[str, bool] | None:
    """The rule that decides, and whether `a` wins; None where none does. Blind to the principles
    and their polarity.

    Where both rules would decide, the script does.

    Raises:
        Unusable: both are in another script than the request.
    """
    if "script" in rules:
        wanted = script(request)
        wrong_a, wrong_b = (
            bool(wanted and (found := script(text)) and found != wanted) for text in (a, b)
        )
        if wrong_a and wrong_b:
            raise Unusable("both in another script than the request")
        if wrong_a != wrong_b:
            return "script", wrong_b
    if "disclaimer" in rules:
        says_a, says_b = disclaims(a), disclaims(b)
        if says_a != says_b and chance(seed, row_id, "disclaimer") < 0.5:
            return "disclaimer", says_b
    return None


def disclaims(text: str) -> bool:
    """Whether a text makes a stock remark about being a machine."""
    return _DISCLAIMERS.search(text.replace("\u2019", "'")) is not None


def script(text: str) -> str:
    """The script that most letters are in, such as LATIN; empty where there are too few letters to
    tell.
    """
    names = (unicodedata.name(c, "").split(" ")[0].split("-")[0] for c in text if c.isalpha())
    counts = Counter(_JAPANESE_TOO.get(name, name) for name in names)
    return (
        max(counts, key=lambda name: (counts[name], name))
        if counts.total() >= _FEWEST_LETTERS
        else ""
    )
