"""Pairs from records of human preferences: conversations or answers, and which is preferred.

In: a file or a Hub dataset, and the names of its columns. Out: for every record its pair, or the
reason why it makes none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stages.runtime.errors import UserError
from stages.runtime.rows import Message, Pair
from stages.text.messages import content_id, read_messages, read_prompts
from stages.text.source import PartialSource, read_source


@dataclass(frozen=True, kw_only=True)
class PairSource(PartialSource):
    """A source of pairs, and the columns that hold them."""

    kind: str = "helpful"
    """A word for what the pairs are about: `helpful`, `red_team` or any other."""
    kind_column: str | None = None
    """The column with each pair's own kind, such as RewardBench's `subset`; null: all are of one
    kind.
    """
    chosen: str = "chosen"
    """The column with one side, the preferred one unless `better` is given."""
    rejected: str = "rejected"
    """The column with the other side."""
    prompt: str | None = None
    """The column with the request; null: the sides are whole conversations."""
    better: str | None = None
    """A column that states which side is preferred, 0 for `chosen` and 1 for `rejected`; null:
    `chosen` is.
    """
    chosen_safe: str | None = None
    """A column that states whether the side in `chosen` is safe, for cost models; null: not
    measured.
    """
    rejected_safe: str | None = None
    """The same for the side in `rejected`."""


@dataclass(frozen=True)
class Side:
    """One answer with the turns before it, or the fault that makes the record unusable."""

    prompt: list[Message]
    answer: str
    safe: bool | None = None
    fault: str = ""


def read_pairs(source: PairSource) -> Iterator[tuple[str, Pair | None, str]]:
    """Yield the location of every record, its pair, and the reason why it makes none, or "".

    Raises:
        UserError: the source cannot be read, lacks a column, or a value in one is of the wrong
        type.
    """
    options = (
        source.chosen,
        source.rejected,
        source.prompt,
        source.better,
        source.chosen_safe,
        source.rejected_safe,
        source.kind_column,
    )
    columns = [column for column in options if column is not None]
    for location, cells in read_source(source, *columns):
        request = None
        if source.prompt is not None:
            request = _read_request(cells[source.prompt], location)
        chosen_safe = _read_safety(cells, source.chosen_safe, location, "chosen_safe")
        rejected_safe = _read_safety(cells, source.rejected_safe, location, "rejected_safe")
        chosen = _read_side(cells[source.chosen], request, chosen_safe, location)
        rejected = _read_side(cells[source.rejected], request, rejected_safe, location)
        if source.better is not None and _is_true(cells[source.better], location, "better"):
            chosen, rejected = rejected, chosen
        kind = source.kind
        if source.kind_column is not None:
            kind = str(cells[source.kind_column])
        reason = _fault(chosen, rejected)
        pair = None if reason else _make_pair(chosen, rejected, kind, location)
        yield location, pair, reason


def _read_request(value: Any, location: str) -> list[Message]:
    """Return the request as `prompts` reads it; [] if there is none or an answer follows it."""
    prompts = read_prompts(value, "last", location)
    if not prompts:
        return []
    (request,) = prompts
    rest = read_messages(value, location)[len(request) :]
    return [] if any(message["content"] for message in rest) else request


def _read_side(value: Any, request: list[Message] | None, safe: bool | None, location: str) -> Side:
    if request is not None and isinstance(value, str):  # an answer, even with transcript marks
        return Side(request, value.strip(), safe)
    messages = read_messages(value, location)
    if not messages or messages[-1]["role"] != "assistant":
        return Side([], "", fault="the last turn is not from the assistant")
    earlier = messages[:-1]
    answer = messages[-1]["content"].strip()
    if request is None:
        return Side(earlier, answer, safe)
    fault = "" if earlier in ([], request) else "the conversations differ"
    return Side(request, answer, safe, fault)


def _read_safety(
    cells: dict[str, Any], column: str | None, location: str, option: str
) -> bool | None:
    return None if column is None else _is_true(cells[column], location, option)


def _is_true(value: Any, location: str, option: str) -> bool:
    text = str(value).strip().lower()  # a csv file has only words
    if text not in ("1", "0", "true", "false"):
        raise UserError(
            f"{value!r} where 0 or 1, true or false is expected",
            where=location,
            fix=f"name another column as `{option}`",
        )
    return text in ("1", "true")


def _fault(chosen: Side, rejected: Side) -> str:
    """Return why two sides make no pair; "" if they do."""
    if chosen.fault or rejected.fault:
        return chosen.fault or rejected.fault
    prompt = chosen.prompt
    if prompt != rejected.prompt:
        return "the conversations differ before the last answer"
    if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"]:
        return "no user turn before the answer"
    if not chosen.answer or not rejected.answer:
        return "empty answer"
    return "equal answers" if chosen.answer == rejected.answer else ""


def _make_pair(chosen: Side, rejected: Side, kind: str, location: str) -> Pair:
    return Pair(
        id=content_id([chosen.prompt, chosen.answer, rejected.answer], location),
        prompt_id=content_id(chosen.prompt, location),
        chosen_id="",
        rejected_id="",
        kind=kind,
        prompt=chosen.prompt,
        chosen=chosen.answer,
        rejected=rejected.answer,
        label=1.0,
        margin=0.0,
        chosen_safe=chosen.safe,
        rejected_safe=rejected.safe,
    )
