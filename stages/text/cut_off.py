"""Texts that were cut off: which rows hold one, and whether a stage that chooses drops them.

A text that ended at max_tokens lacks its end, so it is neither a fair choice nor an example of
when to stop. Stages that judge, rate, pair or choose have the option `cut_off`: `drop` leaves such
rows out before anything is chosen, `keep` carries how they ended to the rows that are made of
them. What trains a model never learns from them.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from stages.guards.errors import UserError
from stages.runtime.artifacts import list_reasons
from stages.runtime.context import Drop
from stages.runtime.generation import Completion
from stages.runtime.rows import Dropped

CutOff = Literal["drop", "keep"]
"""What to do with rows whose text was cut off."""

FIELDS = (
    "finish_reason",
    "finish_reason_a",
    "finish_reason_b",
    "chosen_finish_reason",
    "rejected_finish_reason",
)
"""How the texts of a row ended, in any kind of row."""

Row = TypeVar("Row")


def ending_fault(*finish_reasons: str) -> str:
    """Return why texts are not finished; "" if all of them are."""
    for reason in finish_reasons:
        if reason == "length":
            return "cut off at max_tokens"
        if reason != "stop":
            return f"not finished ({reason})"
    return ""


def finished_text(completion: Completion, name: str) -> str:
    """Return the text of a completion that others build on.

    Args:
        name: of the text, such as "critique".

    Raises:
        Drop: it is empty or was cut off.
    """
    text = completion.text.strip()
    fault = ending_fault(completion.finish_reason)
    if fault and (text or not completion.thoughts):
        raise Drop(f"{name} {fault}")
    if not text:
        raise Drop(completion.reason_if_empty(name))
    return text


def row_fault(row: Any) -> str:
    """Return why a text of a row is not finished; "" if all of them are."""
    reasons = [getattr(row, name) for name in FIELDS if hasattr(row, name)]
    return ending_fault(*reasons)


def count_cut_off(rows: Sequence[Any]) -> int:
    """Return how many rows hold a text that is not finished."""
    return sum(bool(row_fault(row)) for row in rows)


def drop_cut_off(
    rows: Sequence[Row], cut_off: CutOff, prefix: str = ""
) -> tuple[list[Row], list[Dropped]]:
    """Return the rows to choose from, and the others with their reason.

    Args:
        rows: of any kind, with an `id`.
        prefix: of the ids of dropped rows, where several inputs share ids.
    """
    finished = []
    dropped = []
    for row in rows:
        fault = row_fault(row) if cut_off == "drop" else ""
        if fault:
            dropped.append(Dropped(id=f"{prefix}{row.id}", reason=fault))  # type: ignore[attr-defined]
        else:
            finished.append(row)
    return finished, dropped


def refuse_no_finished(dropped: Sequence[Dropped], what: str, where: str) -> None:
    """Refuse rows of which none is left because all were cut off.

    Args:
        dropped: what `drop_cut_off` dropped of them.
        what: what is missing, such as "no response is left to rate".

    Raises:
        UserError: something was dropped.
    """
    if dropped:
        raise UserError(
            f"{what}: {list_reasons(dropped)}",
            where=where,
            fix="raise `max_tokens` under `sampling` of the step that wrote the texts, or set "
            "`cut_off: keep`",
        )
