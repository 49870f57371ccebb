"""A file's bytes as text: compressed or not, in one of the encodings that name themselves.

In: bytes. Out: bytes or text. Compression is recognised by the first bytes, not by the suffix.
"""

import bz2
import codecs
import gzip
import lzma

from stages.guards.errors import UserError

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
"""Suffixes that a file may have beside its kind."""
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
MOST_NULS = 0.1
"""More NUL characters than this are no text."""


def decompress(data: bytes) -> bytes:
    """Return the content of a .gz, .zst, .bz2 or .xz file, or of a plain one.

    Raises:
        OSError, EOFError, lzma.LZMAError, zlib.error: the file is torn or damaged.
    """
    content = _decompress_once(data)
    while content is not data:
        data, content = content, _decompress_once(content)
    return data


def _decompress_once(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            content: bytes = stream.read()
        return content
    if data.startswith(b"BZh"):
        return bz2.decompress(data)
    if data.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(data)
    return data


def decode(data: bytes, where: str) -> str:
    """Return the text of a file, without its byte-order mark.

    An unpaired surrogate that was written as three bytes stays in the text; the reader of the row
    drops it.

    Raises:
        UserError: the bytes are not UTF-8, nor UTF-16 or UTF-32 with a mark.
    """
    for magic, kind in OTHER_FILES.items():
        if data.startswith(magic):
            raise UserError(
                f"it is {kind}, not text", where=where, fix="unpack or export the records first"
            )
    encoding = "utf-8"
    for mark, name in MARKS:
        if data.startswith(mark):
            encoding = name
            break
    if encoding == "utf-8":
        data = data.removeprefix(codecs.BOM_UTF8)
    elif len(data) == 2:
        return ""
    try:
        text = data.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"not UTF-8 text (byte {error.start}: {data[error.start]:#04x}), probably Latin-1 or "
            "Windows-1252",
            where=f"{where}:{line}",
            fix=f"save the file as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {where}",
        ) from None
    start = text[:200]
    if start.count("\x00") > MOST_NULS * len(start):
        raise UserError(
            "the text holds NUL characters: it is binary, or UTF-16 without a byte-order mark",
            where=where,
            fix=f"save the file as UTF-8: iconv -f UTF-16LE -t UTF-8 {where}",
        )
    return text
