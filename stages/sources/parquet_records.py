"""Records of parquet files, of whatever types their columns are.

In: the bytes of a file. Out: rows of plain values. A value that Python has no type for, such as a
date in the year 20000, becomes its text: in a column that nobody reads it does not matter.
"""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from stages.guards.errors import UserError
from stages.sources.table_records import MOST_COLUMNS

PARQUET = b"PAR1"
"""The first bytes of a parquet file."""
PER_ROW = 232
"""Bytes of a row of Python's, without its values."""
PER_CELL = 64
"""Bytes of any value of Python, at least."""
BATCH = 1000
"""Rows that are read at a time."""
ALWAYS_READ = 256 * 2**20
"""Bytes that any file may hold."""
MOST_RATIO = 200
"""Times its own size that a larger file may hold."""
FIX = "check that it is the right file; if it is, write it as .jsonl"


def read_parquet(data: bytes, where: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a parquet file.

    Raises:
        UserError: it is damaged or encrypted, has two columns of one name or very many columns, or
            holds far more than its size lets expect.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        names = _text_columns(file, where)
        facts = file.metadata
        size = sum(facts.row_group(place).total_byte_size for place in range(facts.num_row_groups))
        _refuse_large(size, data, where)
        # Texts stay numbers that point into a list of different texts until they are counted.
        file = pq.ParquetFile(io.BytesIO(data), read_dictionary=names)
        size = 0
        for batch in file.iter_batches(BATCH, use_threads=False):
            size += PER_ROW * len(batch) + sum(map(_size, batch.columns))
            _refuse_large(size, data, where)
            columns = [_values(column) for column in batch.columns]
            for values in zip(*columns, strict=True):
                yield dict(zip(batch.schema.names, values, strict=True))
    except (pa.ArrowException, OSError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"the parquet file cannot be read: {reason[:300]}",
            where=where,
            fix="check that it is whole; or write it as .jsonl",
        ) from None


def _refuse_large(size: int, data: bytes, where: str) -> None:
    most = max(ALWAYS_READ, MOST_RATIO * len(data))
    if size > most:
        raise UserError(
            f"the file holds more than {most:,} bytes, far more than its size lets expect",
            where=where,
            fix=FIX,
        )


def _text_columns(file: Any, where: str) -> list[str]:
    """Return the paths of texts, also inside of lists, once the columns' names are checked."""
    schema = file.schema_arrow
    if len(schema) > MOST_COLUMNS:
        raise UserError(
            f"the file has {len(schema):,} columns, at most {MOST_COLUMNS:,} are read",
            where=where,
            fix="write those that are needed into a file of their own",
        )
    doubled = [name for name, number in Counter(schema.names).items() if number > 1]
    if doubled:
        raise UserError(
            f"two columns are called {doubled[0]!r}", where=where, fix="rename one of them"
        )
    texts = []
    for place in range(len(file.schema)):
        column = file.schema.column(place)
        if column.physical_type == "BYTE_ARRAY":
            texts.append(column.path)
    return texts


def _size(column: Any) -> int:
    """Return about how many bytes a column takes as Python's values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = PER_CELL * len(column)
    kind = column.type
    if pa.types.is_dictionary(kind) and kind.value_type in (pa.string(), pa.binary()):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        return size + int(pc.sum(lengths).as_py() or 0)
    if pa.types.is_struct(kind):
        return size + sum(map(_size, column.flatten()))
    if pa.types.is_list(kind):
        return size + _size(column.flatten())
    if pa.types.is_map(kind):
        return size + _size(column.keys) + _size(column.items)
    return size + int(column.nbytes)


def _values(column: Any) -> list[Any]:
    try:
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    except Exception:  # Arrow and the libraries it calls raise a dozen types for odd values
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    """Return one value as Python has it, or else as text, or else nothing."""
    import pyarrow as pa

    with suppress(Exception):  # see `_values`
        return scalar.as_py(maps_as_pydicts="lossy")
    with suppress(Exception):
        return scalar.cast(pa.string()).as_py()
    return None
