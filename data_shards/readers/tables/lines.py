"""A text file in pieces of whole lines; memory does not grow with the file, nor with a line that never ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harnet.errors import HarnetError

PIECE_BYTES = 8 << 20
LONGEST_LINE = 1 << 16
"""Bytes. A row has some ten cells; a file with a longer line is no table."""

LF = b"\n"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineChunk:
    """Some lines of a file."""

    content: bytes
    """Lines that end with a line feed; the last one of the file may not."""
    first_line: int
    """Number of the first of them, from 1."""
    last: bool
    """Whether the file ends here."""


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
                    f"{path}: line {line + content.count(LF)} is longer than {LONGEST_LINE >> 10} KiB: this is no "
                    "table of samples, or it is damaged: export it again"
                )
            first = line
            while skip and content:
                skip, first = skip - 1, first + 1
                content = content[content.find(LF) + 1 :] if b"\n" in content else b""
            line = first + content.count(LF)
            if content:
                yield LineChunk(content, first, not more)
