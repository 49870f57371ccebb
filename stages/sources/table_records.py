"""Records of csv and tsv text, with the separator and the quotes that the file has.

In: the text of a file. Out: records with their lines. A row with more cells than columns is a
record with a fault.
"""

import csv
import io
from typing import Any, NamedTuple

from stages.guards.errors import UserError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
END = "the end of the table"
"""A row that shows that no quote is open."""
OTHER_SEPARATORS = (";", "\t", "|", ",")
EXTRA = "more cells than columns"
"""The fault of a row that was cut in too many places."""
REPEATED = "the header again"
"""The fault of a row in files that were joined."""


class Row(NamedTuple):
    """A row of a table."""

    line: int
    cells: dict[str, Any]
    fault: str


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
        UserError: a quote that is never closed, or two columns of one name.
    """
    csv.field_size_limit(2**31 - 1)  # a transcript may have more than the module's 128 KB
    if not text.strip():
        return []
    dialect = _find_dialect(text, kind)
    if text.lstrip().lower().startswith("sep="):
        # A line by which Excel is told the separator.
        first, _, text = text.lstrip().partition("\n")
        dialect = dialect._replace(separator=first.strip()[4:5])
    _check_header(text, dialect, where)
    if kind == ".tsv" and _try_parse(text, dialect) is None:
        plain = _try_parse(text, dialect._replace(quote=None))
        if plain is not None and not any(row.fault for row in plain):
            return plain
    try:
        rows = _parse(text, dialect)
        if any(row.fault for row in rows):
            escaped = _try_parse(text, dialect._replace(escape="\\"))
            if escaped and not any(row.fault for row in escaped):
                rows = escaped
    except csv.Error as error:
        escaped = _try_parse(text, dialect._replace(escape="\\"))
        if escaped is None:
            raise UserError(
                f"a quote is opened and never closed: {error}",
                where=f"{where}:{_last_start(text, dialect)}",
                fix='close the quote; inside a quoted cell a quote is doubled: ""',
            ) from None
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
    """Refuse two columns of one name.

    Raises:
        UserError: there are some.
    """
    header = [name.strip() for name in next(_reader(text, dialect, strict=False), [])]
    doubled = [name for name in header if name and header.count(name) > 1]
    if doubled:
        raise UserError(
            f"two columns are called {doubled[0]!r}", where=where, fix="rename one of them"
        )


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
    """Parse the rows.

    Raises:
        csv.Error: a quote is never closed.
    """
    try:
        return _rows(_reader(text, dialect, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise
    rows = list(_reader(f"{text}\n{END}\n", dialect, strict=False))
    if rows[-1] != [END]:
        raise csv.Error("unexpected end of data")
    return _rows(_reader(text, dialect, strict=False))


def _try_parse(text: str, dialect: Dialect) -> list[Row] | None:
    try:
        return _rows(_reader(text, dialect, strict=True))
    except csv.Error:
        return None


def _rows(reader: Any) -> list[Row]:
    header = [name.strip() for name in next(reader, [])]
    rows = []
    for values in reader:
        if not values:
            continue
        padded = list(values) + [None] * (len(header) - len(values))
        fault = EXTRA if any(values[len(header) :]) else ""
        if [value.strip("\ufeff ") for value in values] == header:
            fault = REPEATED
        cells = dict(zip(header, padded, strict=False))
        rows.append(Row(reader.line_num, cells, fault))
    return rows


def _last_start(text: str, dialect: Dialect) -> int:
    """Return the line on which the last row begins."""
    reader = _reader(text, dialect, strict=True)
    line = 1
    try:
        for _ in reader:
            line = reader.line_num + 1
    except csv.Error:
        pass
    return line
