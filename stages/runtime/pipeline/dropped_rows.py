"""How many of a step's rows were dropped, or of its texts cut off, and whether that is trouble."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

from stages.runtime.artifacts import list_reasons
from stages.runtime.generation import TOO_LONG
from stages.runtime.tally import Tally

WORRYING = 0.5
"""The share of a step's rows beyond which dropping them is worth a warning."""
SHOWN_REASONS = 3
LEAST_SHARE = 0.01
"""Smaller shares are written as less than this."""


def count_remaining(rows: Sized | None, metrics: Mapping[str, Any]) -> int:
    """Return how many rows a step has not dropped: its own, or those that it learnt from."""
    if rows is None:
        held_out = metrics.get("held_out") or {}
        return int(metrics.get("n") or 0) + int(held_out.get("n") or 0)
    return len(rows)


def describe_share(dropped: Mapping[str, int], remaining: int) -> str:
    """Return `12 of 120 (10 %): 10 x duplicate; 2 x empty`."""
    count = sum(dropped.values())
    share = count / (count + remaining)
    percent = f"{share:.0%}" if share >= LEAST_SHARE else f"less than {LEAST_SHARE:.0%}"
    shown = dict(sorted(dropped.items(), key=lambda item: -item[1])[:SHOWN_REASONS])
    hidden = len(dropped) - len(shown)
    more = f"; {hidden} reasons more" if hidden else ""
    return f"{count} of {count + remaining} ({percent}): {list_reasons(shown)}{more}"


def doubt_dropped(dropped: Mapping[str, int], remaining: int, meant: Sequence[str]) -> list[str]:
    """Return a warning where a step dropped most of its rows.

    Args:
        meant: the reasons for which the step is meant to drop rows, `*` for any.
    """
    if "*" in meant:
        return []
    worrying = {reason: count for reason, count in dropped.items() if reason not in meant}
    count = sum(worrying.values())
    if count <= WORRYING * (count + remaining):
        return []
    return [f"it dropped {describe_share(worrying, remaining)}"]


def advise_on_long(dropped: Mapping[str, int], config: Any) -> str:
    """Return how a step's principles are made shorter; "" where that would not help.

    Args:
        config: the step's; its `constitution`, if it has one, says how (`Selection.shorten`).
    """
    selection = getattr(config, "constitution", None)
    if selection is None or not any(TOO_LONG in reason for reason in dropped):
        return ""
    return str(selection.shorten())


def doubt_cut_off(tally: Tally) -> list[str]:
    """Return a warning where most of the texts that a step let a model write have no end."""
    if tally.cut_off <= WORRYING * tally.texts:
        return []
    return [
        f"{tally.cut_off} of {tally.texts} texts were cut off at {tally.longest} tokens, and no "
        "training learns from such: raise sampling.max_tokens of the step (model.sampling."
        "max_tokens for all steps)"
    ]
