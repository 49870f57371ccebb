"""Proposals that say the same, as one: the text of the first, the sources of all."""

from collections.abc import Sequence
from dataclasses import replace

from stages.runtime.rows import Proposal


def merge(rows: Sequence[Proposal]) -> Proposal:
    """Return the first of some proposals, with the sources and the other wordings of all.

    Sources and wordings keep their order, and each stands once.

    Args:
        rows: at least one.
    """
    sources: dict[str, None] = {}
    wordings: dict[str, None] = {}
    for row in rows:
        sources |= dict.fromkeys(row.sources)
        wordings |= dict.fromkeys([row.text, *row.wordings])
    wordings.pop(rows[0].text)
    return replace(rows[0], sources=list(sources), wordings=list(wordings))
