"""Principles in words that a model of a closed vocabulary has never seen.

Such a model states its words in a file `lexicon.txt` of its folder: a first line `# the model's
name`, then a word a line, in lower case. In: a model and principles. Out: warnings, as in `Result`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from stages.guards.files import read_text
from stages.principles.constitution import Principle
from stages.runtime.models import Model
from stages.runtime.rows import Proposal

LEXICON = "lexicon.txt"
SHOWN = 8
"""How many words a warning names, the longest first: they say most."""
MOST_BYTES = 2**24
"""Of a lexicon."""
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case and without the 's of an owner."""
    words = _WORD.findall(text.lower().replace("\u2019", "'"))
    return [word.removesuffix("'s") for word in words]


def doubt_words(model: Model, principles: Sequence[Principle | Proposal]) -> list[str]:
    """Return a warning that names the words of principles which a model has never seen.

    There is none about a model without a lexicon: nobody knows what it has read.
    """
    file = Path(model.path) / LEXICON
    if not file.is_file():
        return []
    title, *lines = read_text(file, most=MOST_BYTES).splitlines()
    lexicon = set(lines)
    words: dict[str, None] = {}
    names = []
    for principle in principles:
        unknown = [word for word in words_of(principle.text) if word not in lexicon]
        words |= dict.fromkeys(unknown)
        names += [principle.id] * bool(unknown)
    if not words:
        return []
    longest = sorted(words, key=lambda word: (-len(word), word))
    shown = ", ".join(repr(word) for word in longest[:SHOWN])
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return [
        f"{title.removeprefix('#').strip()} cannot read {shown}{more}, words of {len(names)} of "
        f"{len(principles)} principles: its vocabulary is closed, and what it says of these "
        "principles is not about them"
    ]
