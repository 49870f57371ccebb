"""Under what people judged a record: the principles of its pairs.

In: the options `principles` and `principles_column`, and a record. Out: ids of principles, or whole
texts, as Pair rows carry them.
"""

from typing import Any

from stages.guards.errors import Faults, UserError
from stages.preferences.people.pair_source import PairSource
from stages.principles.constitution import check_reference
from stages.runtime.context import Drop
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text
from stages.sources.conversations import printable
from stages.sources.records import Record


def list_attributes(source: PairSource) -> dict[str, tuple[str, ...]]:
    """Return the principles of each column that makes pairs of its own; {} if none does."""
    if source.principles_column or not isinstance(source.principles, dict):
        return {}
    return source.principles


def check_principles(source: PairSource) -> None:
    """Refuse options that contradict each other, and principles that cannot be any.

    Raises:
        UserError: one does.
    """
    by_name = isinstance(source.principles, dict)
    if source.principles_column and source.principles and not by_name:
        raise UserError(
            "`principles` is a list beside `principles_column`",
            fix="write `principles` as {value of the column: principle}, or remove one of the two",
        )
    if list_attributes(source) and (source.better or source.score):
        raise UserError(
            "`principles` names the columns that decide, beside `better` or `score`",
            fix="remove `better` and `score`, or write `principles` as a list",
        )
    lists = source.principles.values() if isinstance(source.principles, dict) else ()
    names = source.principles if not by_name else [name for names in lists for name in names]
    faults = Faults()
    for name in names:
        with faults.gather():
            check_reference(name, "")
    faults.raise_any()


def principles_of(record: Record, source: PairSource) -> list[str]:
    """Return the principles under which a record was judged.

    Raises:
        Drop: its cell names none, or one that is not listed.
    """
    if source.principles_column is None:
        return list(source.principles)
    value = record.value(source.principles_column)
    if is_empty(value):
        raise Drop("no principle")
    if isinstance(source.principles, dict) and source.principles:
        text = plain_text(value)
        if text not in source.principles:
            raise Drop("judged under something that `principles` does not name", printable(text))
        return list(source.principles[text])
    return [_check(name) for name in _as_list(value)]


def _as_list(value: Any) -> list[str]:
    """Return the principles that a cell holds: one, or a list of them."""
    if isinstance(value, str):
        try:
            value, _ = parse_structured(value)
        except NotStructured:
            return [value.strip()]
    if not isinstance(value, list):
        return [plain_text(value)]
    return [plain_text(item) for item in value]


def _check(name: str) -> str:
    try:
        check_reference(name, "")
    except UserError as error:
        raise Drop("a principle that cannot be read", error.what) from None
    return name
