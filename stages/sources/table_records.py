"""Records of csv and tsv text, with the separator and the quotes that the file has.

In: the text of a file. Out: records with their lines. A row with more cells than columns is a
record with a fault.
"""

import csv
import io
from collections import Counter
from collections.abc import Container
from itertools import islice
from typing import Any, NamedTuple

from stages.guards.errors import UserError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
END = "the end of the table"
"""A row that shows that no quote is open."""
OTHER_SEPARATORS = (";", "\t", "|", ",")
EXTRA = "more cells than columns"
"""The fault of a row that was cut in too many places."""
CLOSE = 'close the quote; inside a quoted cell a quote is doubled: ""'
MOST_COLUMNS = 20_000
MAY_LACK = 1_000_000
"""Cells that the rows of any table together may lack; in larger ones, ten for each that is there."""
LOOKS_LIKE_ROWS = 4
"""Separators in the lines of a cell by which it seems to hold rows of the table."""
REPEATED = "the header again"
"""The fault of a row in files that were joined."""


class Row(NamedTuple):
    """A row of a table."""

    line: int
    cells: dict[str, Any]
    fault: str


class TableFault(csv.Error):
    """Why a table cannot be read, with the line."""

    def __init__(self, what: str, line: int, fix: str = CLOSE):
        super().__init__(what)
        self.line, self.fix = line, fix


class Dialect(NamedTuple):
    """How a table was written."""

    separator: str
    quote: str | None = '"'
    escape: str | None = None
    """The character before a quote inside quotes; None: the quote is doubled."""


def read_table(text: str, kind: str, where: str) -> list[Row]:
    """Return the rows of a table under its header.

    The separator is the usual one of the kind, unless that leaves the header in one piece and
    another does not. Quotes may be double or single, doubled or escaped by a backslash inside a
    cell; in a .tsv file they may also be ordinary characters.

    Raises:
        UserError: a quote that is never closed, two columns of one name, or too many columns.
    """
    csv.field_size_limit(2**31 - 1)  # a transcript may have more than the module's 128 KB
    if not text.strip():
        return []
    dialect = _find_dialect(text, kind)
    if text.lstrip().lower().startswith("sep="):
        # A line by which Excel is told the separator.
        first, _, text = text.lstrip().partition("\n")
        dialect = dialect._replace(separator=first.strip()[4:5] or dialect.separator)
    _check_header(text, dialect, where)
    if kind == ".tsv" and _try_parse(text, dialect) is None:
        plain = _try_parse(text, dialect._replace(quote=None))
        if plain is not None and not any(row.fault for row in plain):
            return plain
    try:
        rows = _parse(text, dialect)
        if any(row.fault for row in rows):
            escaped = _try_escaped(text, dialect)
            if escaped and not any(row.fault for row in escaped):
                rows = escaped
    except TableFault as fault:
        escaped = _try_escaped(text, dialect)
        if escaped is None:
            raise UserError(str(fault), where=f"{where}:{fault.line}", fix=fault.fix) from None
        rows = escaped
    return rows


def _find_dialect(text: str, kind: str) -> Dialect:
    header = text.lstrip().partition("\n")[0]
    quote = "'" if header.startswith("'") else '"'
    usual = Dialect(SEPARATORS[kind], quote)
    if len(_header(header, usual)) > 1:
        return usual
    sizes = {}
    for separator in OTHER_SEPARATORS:
        sizes[separator] = len(_header(header, Dialect(separator, quote)))
    best = max(sizes, key=lambda separator: sizes[separator])
    return Dialect(best, quote) if sizes[best] > 1 else usual


def _header(line: str, dialect: Dialect) -> list[str]:
    return next(_reader(line, dialect, strict=False), [])


def _check_header(text: str, dialect: Dialect, where: str) -> None:
    """Refuse two columns of one name, and a number of columns that no table has.

    Raises:
        UserError: there are some.
    """
    header = _read_header(_reader(text, dialect, strict=False))
    if len(header) > MOST_COLUMNS:
        raise UserError(
            f"the table has {len(header):,} columns, at most {MOST_COLUMNS:,} are read",
            where=where,
            fix="check the separator; or keep the columns that are needed",
        )
    doubled = [name for name, number in Counter(header).items() if name and number > 1]
    if doubled:
        raise UserError(
            f"two columns are called {doubled[0][:80]!r}", where=where, fix="rename one of them"
        )


def _read_header(reader: Any) -> list[str]:
    """Return the names in the first line that is not empty."""
    return [name.strip() for name in next(filter(None, reader), [])]


def _reader(text: str, dialect: Dialect, strict: bool) -> Any:
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.separator,
        quotechar=dialect.quote,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        doublequote=dialect.escape is None,
        strict=strict,
    )


def _parse(text: str, dialect: Dialect) -> list[Row]:
    """Parse the rows. Quotes inside of a cell need not be doubled where it ends on its line.

    Raises:
        TableFault: a quote is never closed, or only by one of a later row; rows lack most columns.
    """
    reader = _reader(text, dialect, strict=True)
    broken: set[int] = set()
    start, line = 1, 0
    while True:
        start, line = line + 1, reader.line_num
        try:
            if next(reader, None) is None:
                break
        except csv.Error as error:
            if reader.line_num > line + 1 or "unexpected end" in str(error):
                raise TableFault("a quote is opened and never closed", line + 1) from None
            broken.add(line + 1)
    _refuse_swallowed(text, dialect, start, line)
    return _rows(_reader(text, dialect, strict=not broken), broken)


def _refuse_swallowed(text: str, dialect: Dialect, start: int, end: int) -> None:
    """Refuse a last row that seems to hold the rows after it, behind a quote that was left open.

    Args:
        start, end: the first and the last line of the last row.

    Raises:
        TableFault: all lines inside of it have as many cells as the table has columns.
    """
    if end - start < 2:
        return
    width = len(_read_header(_reader(text, dialect, strict=False)))
    lines = list(islice(io.StringIO(text, newline=""), start, end - 1))
    alike = width > 1 and all(len(_header(line, dialect)) == width for line in lines)
    if alike and (width - 1) * len(lines) >= LOOKS_LIKE_ROWS:
        raise TableFault(
            f"one cell holds {len(lines)} lines that look like rows of this table: a quote is "
            "opened and closed too late",
            start,
        )


def _try_parse(text: str, dialect: Dialect) -> list[Row] | None:
    try:
        return _rows(_reader(text, dialect, strict=True))
    except csv.Error:
        return None


def _try_escaped(text: str, dialect: Dialect) -> list[Row] | None:
    """As `_try_parse`, with quotes that a backslash escapes; None where there are none."""
    if f"\\{dialect.quote}" not in text:
        return None
    return _try_parse(text, dialect._replace(escape="\\"))


def _rows(reader: Any, broken: Container[int] = ()) -> list[Row]:
    """Return the rows.

    Args:
        broken: lines with quotes that are not doubled.

    Raises:
        TableFault: such a quote opens a cell of several lines, or rows lack most columns.
    """
    header = _read_header(reader)
    rows = []
    line = reader.line_num
    lacking = present = 0
    for values in reader:
        start, line = line + 1, reader.line_num
        if line > start and start in broken:
            raise TableFault("a quote is opened and never closed", start)
        if not values:
            continue
        lack = max(0, len(header) - len(values))
        lacking += lack
        present += len(values)
        if lacking > MAY_LACK + 10 * present:
            raise TableFault("the rows lack most of the columns", line, "check the header")
        fault = EXTRA if any(values[len(header) :]) else ""
        if [value.strip("\ufeff ") for value in values] == header:
            fault = REPEATED
        cells = dict(zip(header, [*values, *[None] * lack], strict=False))
        rows.append(Row(line, cells, fault))
    return rows
