"""Files that people fill in: one answer and one question a line, blind to the policy.

In: lines to write, or a filled file (csv or jsonl, as Credo wrote it; other columns may be added,
lines may be moved or left out). Out: files, or `Label` rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.evaluation.labels.questions import prompt_of
from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.report.csv_files import write_csv
from stages.runtime.rows import Dropped, Label
from stages.sources.cells import plain_text
from stages.sources.records import Record, read_file, require_columns

QUESTION = "Does the response break this principle? Write yes or no"
QUESTION_ANY = "Does the response break any of these principles? Write yes or no"
NEEDED = ("id", "label")
YES = ("yes", "y", "true", "1", "1.0")
NO = ("no", "n", "false", "0", "0.0")


@dataclass(frozen=True)
class Filled:
    """What a filled file holds."""

    labels: list[Label]
    dropped: list[Dropped]


def write_files(folder: Path, name: str, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write the lines as csv and as jsonl; return the names of the files."""
    columns = list(lines[0])
    table = folder / f"{name}.csv"
    write_csv(
        table,
        columns,
        [list(line.values()) for line in lines],
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(folder / f"{name}.jsonl", text)
    return [table.name, f"{name}.jsonl"]


def read_labels(source: str) -> Filled:
    """Return the labels of a filled file, and the lines without one.

    Raises:
        UserError: it cannot be read, lacks a column, or a label or probability has no meaning.
    """
    records = list(read_file(as_path(source, "source")))
    require_columns(records, NEEDED)
    labels = []
    dropped = []
    for record in records:
        reason = _fault(record)
        if reason:
            dropped.append(Dropped(id=Path(record.location).name, reason=reason))
            continue
        labels.append(_read(record))
    return Filled(labels, dropped)


def _fault(record: Record) -> str:
    if record.fault:
        return record.fault
    if not prompt_of(str(record.value("id"))):
        return "no id of a label"
    return ""


def _read(record: Record) -> Label:
    identifier = str(record.value("id")).strip()
    return Label(
        id=identifier,
        prompt_id=prompt_of(identifier),
        wording=plain_text(record.value("principle")),
        label=_label(record),
        probability=_probability(record),
    )


def _label(record: Record) -> float | None:
    cell = record.value("label")
    if cell in ("", None):
        return None
    text = plain_text(cell).lower()
    if text not in YES + NO:
        raise UserError(
            f"{cell!r} where yes or no is expected",
            where=record.location,
            fix="write yes if the response breaks the principle and no if not (or 1 and 0), and "
            "leave the cell empty where you cannot say",
        )
    return float(text in YES)


def _probability(record: Record) -> float:
    cell = record.value("probability")
    if cell in ("", None):
        return 1.0
    try:
        value = float(str(cell).replace(",", "."))
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UserError(
            f"{cell!r} where the probability of the draw is expected",
            where=record.location,
            fix="leave this column as Credo wrote it, or delete it if nothing was drawn",
        )
    return value
