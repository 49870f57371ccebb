"""Signs that critiques and revisions kept their form and lost their content.

In: Revision rows. Out: warnings, as in `Result`.
"""

from collections import Counter
from collections.abc import Sequence

from stages.runtime.rows import Revision

FEWEST = 10
"""Rows; of fewer nothing is said."""
MOST = 0.5
"""The share of rows from which on a fault is a fault of the step."""
ECHOED = 40
"""Characters of a request for a critique that a critique may repeat."""


def doubt_revisions(rows: Sequence[Revision], always_rewritten: bool) -> list[str]:
    """Return warnings about a step's critiques and revisions.

    Args:
        always_rewritten: a revision was asked for whatever the critique said.
    """
    rewritten = [row for row in rows if row.revision_request]
    criticised = [row for row in rewritten if row.critique]
    warnings = []
    if not always_rewritten and len(rows) >= FEWEST and not rewritten:
        warnings.append(
            f"no critique of {len(rows)} names a fault, so nothing was revised: look at the "
            "critiques"
        )
    if len(rewritten) >= FEWEST:
        equal = sum(_plain(row.response) == _plain(row.previous) for row in rewritten)
        if equal > MOST * len(rewritten):
            warnings.append(f"{equal} of {len(rewritten)} revisions repeat the answer unchanged")
    if len(criticised) >= FEWEST:
        warnings += _doubt_critiques(criticised)
    return warnings


def _doubt_critiques(rows: Sequence[Revision]) -> list[str]:
    warnings = []
    echoes = sum(_is_echo(row) for row in rows)
    if echoes > MOST * len(rows):
        warnings.append(f"{echoes} of {len(rows)} critiques repeat the request for a critique")
    critiques = Counter(_plain(row.critique) for row in rows)
    words, count = critiques.most_common(1)[0]
    if count > MOST * len(rows):
        warnings.append(f"{count} of {len(rows)} critiques are the same: {words[:80]!r}")
    repeated = sum(_plain(row.critique) == _plain(row.previous) for row in rows)
    if repeated > MOST * len(rows):
        warnings.append(f"{repeated} of {len(rows)} critiques repeat the answer")
    return warnings


def _is_echo(row: Revision) -> bool:
    """Whether a critique is a part of its request, or begins with a long part of it."""
    request, critique = _plain(row.critique_request), _plain(row.critique)
    start = critique[:ECHOED]
    return critique in request or (len(start) == ECHOED and start in request)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
