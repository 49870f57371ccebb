"""A file's bytes as text: compressed or not, in one of the encodings that name themselves.

In: bytes. Out: bytes or text. Compression is recognised by the first bytes, not by the suffix.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from stages.guards.errors import UserError
from stages.guards.files import MOST_BYTES

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
"""Suffixes that a file may have beside its kind."""
MOST_LAYERS = 4
"""More than the times that a file may be compressed over; some hold themselves for ever."""
ALWAYS_UNPACKED = 128 * 2**20
"""Bytes that any file may unpack to."""
MOST_RATIO = 100
"""Times its own size that a larger file may unpack to; text seldom reaches 20."""
PIECE = 2**20
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks, and the encodings that they announce."""

OTHER_FILES = {
    b"PK\x03\x04": "a zip archive (.zip, .xlsx, .npz)",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
    b"version https://git-lfs": "a pointer of Git LFS to a file that was not fetched",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
"""First bytes of files that people take for records, and what they are."""
FIRST = 200
"""Characters in which NUL characters are counted."""
MOST_NULS = 0.1
"""More NUL characters than this are no text."""


def decompress(data: bytes, where: str) -> bytes:
    """Return the content of a .gz, .zst, .bz2 or .xz file, or of a plain one.

    Raises:
        UserError: the file is torn or damaged, or holds far more than its size lets expect.
    """
    most = min(MOST_BYTES, max(ALWAYS_UNPACKED, MOST_RATIO * len(data)))
    for _ in range(MOST_LAYERS):
        stream = _open_packed(data)
        if stream is None:
            return data
        try:
            data = _read_all(stream, most, where)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise UserError(
                f"the compressed file is damaged: {error}",
                where=where,
                fix="copy or download it again",
            ) from None
    raise UserError(
        f"the file is compressed more than {MOST_LAYERS - 1} times over",
        where=where,
        fix="give the records themselves",
    )


def _open_packed(data: bytes) -> Any:
    """Return a stream of what compressed bytes hold; None for others."""
    file = io.BytesIO(data)
    if data.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return pa.CompressedInputStream(file, "zstd")
    if data.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if data.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    return None


def _read_all(stream: Any, most: int, where: str) -> bytes:
    pieces = []
    size = 0
    while piece := stream.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise UserError(
                f"the compressed file holds more than {most:,} bytes, far more than its size lets "
                "expect",
                where=where,
                fix="check that it is the right file; if it is, unpack it",
            )
    return b"".join(pieces)


def decode(data: bytes, where: str) -> str:
    """Return the text of a file, without its byte-order mark.

    An unpaired surrogate that was written as three bytes stays in the text; the reader of the row
    drops it.

    Raises:
        UserError: the bytes are not UTF-8, nor UTF-16 or UTF-32 with a mark.
    """
    encoding = _encoding_of(data, where)
    if encoding == "utf-8":
        data = data.removeprefix(codecs.BOM_UTF8)
    elif len(data) == 2:
        return ""
    try:
        text = data.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _not_utf8(error.start, data[error.start], line, where) from None
    _refuse_nuls(text[:FIRST], where)
    return text


class TextLines:
    """The lines of a text file without their breaks, decoded one at a time when they are iterated.

    Args:
        data: the content of the file, of which no further copy is held where it is UTF-8.
        where: what messages call the file.

    Raises:
        UserError: as `decode`.
    """

    def __init__(self, data: bytes, where: str):
        self.where = where
        self._data = data
        self._start = 0
        if _encoding_of(data, where) != "utf-8":
            self._data = decode(data, where).encode("utf-8", "surrogatepass")
        elif data.startswith(codecs.BOM_UTF8):
            self._start = len(codecs.BOM_UTF8)
        first = ""
        for line in self:
            if len(first) < FIRST:
                first += f"{line}\n"
        _refuse_nuls(first[:FIRST], where)

    def __iter__(self) -> Iterator[str]:
        stream = io.BytesIO(self._data)
        place = stream.seek(self._start)
        for number, line in enumerate(stream, start=1):
            try:
                yield line.removesuffix(b"\n").decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                byte = place - self._start + error.start
                raise _not_utf8(byte, line[error.start], number, self.where) from None
            place += len(line)

    def text(self) -> str:
        """Return all lines as one text."""
        return decode(self._data, self.where)


def _encoding_of(data: bytes, where: str) -> str:
    """Return the encoding that a file's byte-order mark names; UTF-8 without one.

    Raises:
        UserError: it is a file of another kind.
    """
    for magic, kind in OTHER_FILES.items():
        if data.startswith(magic):
            raise UserError(
                f"it is {kind}, not text", where=where, fix="unpack or export the records first"
            )
    return next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")


def _not_utf8(byte: int, value: int, line: int, where: str) -> UserError:
    return UserError(
        f"not UTF-8 text (byte {byte}: {value:#04x}), probably Latin-1 or Windows-1252",
        where=f"{where}:{line}",
        fix=f"save the file as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {where}",
    )


def _refuse_nuls(start: str, where: str) -> None:
    """Refuse text whose first characters are those of a binary file.

    Raises:
        UserError: many of them are NUL.
    """
    if start.count("\x00") > MOST_NULS * len(start):
        raise UserError(
            "the text holds NUL characters: it is binary, or UTF-16 without a byte-order mark",
            where=where,
            fix=f"save the file as UTF-8: iconv -f UTF-16LE -t UTF-8 {where}",
        )
