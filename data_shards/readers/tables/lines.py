"""Reads a text file in chunks of whole lines, with bounded memory even if a line never ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harnet.errors import HarnetError

PIECE_BYTES = 8 << 20
LONGEST_LINE = 1 << 16
"""Maximum length of a line in bytes; a file with a longer one is not a table of samples."""

LF = b"\n"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineChunk:
    """Some lines of a file."""

    content: bytes
    """Lines that end with a line feed, except possibly the last one of the file."""
    first_line: int
    """Number of the first line, from 1."""
    last: bool
    """Whether this is the end of the file."""


def pieces(path: Path, skip: int = 0, size: int | None = None) -> Iterator[LineChunk]:
    """The file after its first `skip` lines. Lines may end with LF, CR LF or CR.

    Raises:
        HarnetError: a line is longer than `LONGEST_LINE`.
    """
    size = size or PIECE_BYTES
    line = 1
    rest = b""
    with path.open("rb") as file:
        read = file.read(size).removeprefix(_BOM)
        old_mac = b"\r" in read and b"\n" not in read
        while read or rest:
            more = file.read(size)
            content = rest + (read.replace(b"\r", b"\n") if old_mac else read)
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
                yield LineChunk(content, first, not more)
