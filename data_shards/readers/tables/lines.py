"""Reads a text file in chunks of whole lines, with bounded memory even if a line never ends."""

import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harnet.errors import HarnetError

PIECE_BYTES = 8 << 20
LONGEST_LINE = 1 << 16
"""Maximum length of a line in bytes; a file with a longer one is not a table of samples."""

LF = b"\n"
MINUS = "\N{MINUS SIGN}"
"""How some programs write a minus in Nordic languages."""

_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_LOOKED_AT = 64
_MINUS_BYTES = MINUS.encode()
_ZEROS = re.compile(rb"\0+")


@dataclass(frozen=True)
class LineChunk:
    """Some lines of a file."""

    content: bytes
    """Lines that end with a line feed, except possibly the last one of the file."""
    first_line: int
    """Number of the first line, from 1."""
    last: bool
    """Whether this is the end of the file."""


def encoding_of(head: bytes) -> str:
    """The encoding of a file in UTF-16, with or without a byte order mark; empty for all others."""
    even, odd = head[:_LOOKED_AT:2], head[1:_LOOKED_AT:2]
    if len(odd) > 4 and not any(odd) and all(even):
        return "utf-16-le"
    if len(odd) > 4 and not any(even) and all(odd):
        return "utf-16-be"
    return _UTF16.get(head[:2], "")


def line_chunks(path: Path, skip: int = 0, size: int | None = None) -> Iterator[LineChunk]:
    """The file after its first `skip` lines, in UTF-8 or an 8-bit encoding. Lines may end with LF, CR LF or CR; each
    minus sign becomes a hyphen, and byte order marks, which joined files have inside, are dropped.

    Raises:
        HarnetError: a line is longer than `LONGEST_LINE`.
    """
    line = 1
    rest = b""
    chunks = _chunks(path, size or PIECE_BYTES)
    read = next(chunks, b"")
    while read or rest:
        more = next(chunks, b"")
        content = rest + read
        end = content.rfind(LF) + 1 if more else len(content)
        rest, content, read = content[end:], content[:end], more
        if len(rest) > LONGEST_LINE:
            raise HarnetError(
                f"{path}: line {line + content.count(LF)} is longer than {LONGEST_LINE >> 10} KiB: not a table of "
                "samples, or damaged: export it again"
            )
        first = line
        while skip and content:
            skip, first = skip - 1, first + 1
            content = content[content.find(LF) + 1 :] if b"\n" in content else b""
        line = first + content.count(LF)
        if content:
            yield LineChunk(content.replace(_MINUS_BYTES, b"-").replace(BOM_UTF8, b""), first, not more)


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    """The content, about `size` bytes at a time; every line end has a line feed, and runs of zero bytes are one."""
    with path.open("rb") as file:
        encoding = encoding_of(file.peek(_LOOKED_AT))
        text = io.TextIOWrapper(file, encoding, "replace", newline="") if encoding else None
        while chunk := file.read(size) if text is None else text.read(size).encode():
            if chunk.endswith(b"\r"):
                chunk += file.read(1) if text is None else text.read(1).encode()
            if chunk.count(b"\r") != chunk.count(b"\r\n"):
                chunk = chunk.replace(b"\r\n", LF).replace(b"\r", LF)
            yield _ZEROS.sub(b"\0", chunk) if b"\0" in chunk else chunk
