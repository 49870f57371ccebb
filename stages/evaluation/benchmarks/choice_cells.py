"""Cells of multiple-choice files: options, the right one, and how people answered. Pure functions.

In: a cell as it was read, text or structured. Out: plain values, or a UserError that names the
place of the cell.
"""

from collections.abc import Mapping
from typing import Any

from stages.evaluation.benchmarks.choice_gold import Options
from stages.guards.errors import UserError
from stages.guards.files import read_json
from stages.sources.cells import NotStructured, is_empty, parse_structured, plain_text

LARGEST = 1e300
"""Of a share or a count, so that sums stay finite."""


def read_options(value: Any, where: str) -> Options:
    """A cell with several options, or one.

    It is a list, or a list written in JSON or as Python prints it; a mapping by letter, {"A": ...,
    "B": ...}; a table of labels and texts, or a list of {label, text}; or one text.

    Raises:
        UserError: an option is not a text.
    """
    value = _parse(value)
    labels: list[Any] = []
    if isinstance(value, Mapping):
        texts = value.get("text")
        if isinstance(texts, list):
            labels = value.get("label") or []
            value = texts
        else:
            labels, value = list(value), list(value.values())
    if not isinstance(value, (list, tuple)):
        return Options([] if is_empty(value) else [plain_text(value)], [], False)
    if value and all(isinstance(item, Mapping) and "text" in item for item in value):
        labels = [item.get("label", "") for item in value]
        value = [item["text"] for item in value]
    if len(labels) != len(value):
        labels = []
    empty = [place for place, option in enumerate(value) if is_empty(option)]
    value = [option for option in value if not is_empty(option)]
    labels = [label for place, label in enumerate(labels) if place not in empty]
    for option in value:
        if not isinstance(option, (str, int, float)):
            raise UserError(
                "an option is not a text",
                where=where,
                fix="let `choices` name a column that lists texts",
            )
    are_numbers = all(isinstance(option, (int, float)) for option in value)
    texts = [plain_text(option) for option in value]
    return Options(texts, [plain_text(label) for label in labels], are_numbers, tuple(empty))


def _parse(value: Any) -> Any:
    """The value that a text holds in JSON or as Python prints it; else the text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_structured(value)[0]
    except NotStructured:
        return value


def people_shares(value: Any, options: Options, where: str) -> dict[str, list[float]]:
    """The fraction of people for each option, by group; groups with a wrong count are left out.

    GlobalOpinionQA writes them as Python prints a defaultdict. Votes of one group (SCRUPLES), a
    list or {option: votes}, are those of the group "people".

    Args:
        options: of the question; empty ones may have a share too, which is left out.

    Raises:
        UserError: the cell is not a mapping.
    """
    value = _parse(value)
    if isinstance(value, Mapping) and _are_shares([*value.values()]):
        value = [value.get(text, 0) for text in options.texts]
    if _are_shares(value):
        value = {"people": value}
    if not isinstance(value, Mapping):
        raise UserError(
            "how people answered is neither a mapping nor a list of votes",
            where=where,
            fix="let `people` name a column of {group: [share, one an option]}, or of votes",
        )
    count = len(options.texts)
    groups = {}
    for name, shares in value.items():
        if _are_shares(shares) and len(shares) == count + len(options.empty):
            shares = [share for place, share in enumerate(shares) if place not in options.empty]
        if _are_shares(shares) and len(shares) == count and sum(shares) > 0:
            total = sum(shares)
            groups[str(name)] = [share / total for share in shares]
    return groups


def _are_shares(shares: Any) -> bool:
    if not isinstance(shares, (list, tuple)):
        return False
    return all(isinstance(share, (int, float)) and 0 <= share < LARGEST for share in shares)


def read_gold_file(path: str) -> Mapping[str, Any]:
    """A file of answers by question, such as SafetyBench's {id: {category, answer}}.

    Raises:
        UserError: it cannot be read, or is not a JSON object.
    """
    answers = read_json(path)
    if not isinstance(answers, dict):
        raise UserError(
            "the answers are not a JSON object", where=path, fix='write {"<key>": <answer>, ...}'
        )
    return answers
