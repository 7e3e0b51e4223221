"""Detects the dialect of a text table from its first lines: separator, quotes, column names, start of the data."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_shards.readers.tables.stamps import FIRST_CLOCK_SECOND, is_stamp, number_of
from harnet.errors import HarnetError

SEPARATORS = ("\t", ";", ",", " ")
"""Separators in the order in which they are tried; a space means any white space. A comma may be a decimal comma."""
MOST_PREAMBLE = 20
"""Maximum number of lines of other text before the header row, which are skipped."""
LINES_LOOKED_AT = 40
BY_PLACE = (4, 7)
"""Possible numbers of columns in a table without header row: time, x, y, z, and optionally three gyroscope axes."""

_BOM = b"\xef\xbb\xbf"
_SPACED_STAMP = re.compile(rb"(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})[ \t]+(\d{1,2}:)")
_SPACED_ZONE = re.compile(rb"[ \t]+\[[\w+\-/]+\]")


@dataclass(frozen=True)
class Dialect:
    """How to read the lines of one table."""

    separator: str
    """One of `SEPARATORS`."""
    quoted: bool
    """Whether cells may be in double quotes."""
    names: tuple[str, ...]
    """Column names as written, stripped; empty if there is no header row."""
    fields: int
    """Number of cells per row."""
    skip: int
    """Number of lines before the first row of data."""
    foreign: int = 0
    """Number of skipped lines that are neither blank nor the header row."""
    blank: int = 0
    """Number of skipped lines that are blank."""

    def places(self, columns: Sequence[str], path: Path) -> list[int]:
        """Index of each column, given by name or by number from 1; `HarnetError` if one does not exist."""
        places = [self._place(column, tuple(columns), path) for column in columns]
        if max(places) >= self.fields:
            raise HarnetError(
                f"{path}: most rows have {self.fields} cells, too few for the columns {', '.join(columns)}: name yours "
                "with --columns, or export the file again"
            )
        return places

    def _place(self, column: str, columns: tuple[str, ...], path: Path) -> int:
        if column in self.names:
            return self.names.index(column)
        alike = [index for index, name in enumerate(self.names) if name.casefold() == column.strip().casefold()]
        if len(alike) == 1:
            return alike[0]
        if column.isdecimal() and 1 <= int(column) <= self.fields:
            return int(column) - 1
        if not self.names and columns == DEFAULT_COLUMNS:
            return columns.index(column)
        if not self.names:
            raise HarnetError(
                f"{path}: no column {column!r}: it has no header row and {self.fields} columns: pass their numbers, "
                "such as --columns 1 2 3 4"
            )
        trouble = "more than one" if alike else "no"
        raise HarnetError(
            f"{path}: {trouble} column {column!r}; it has {', '.join(self.names)}: name yours with --columns"
        )


DEFAULT_COLUMNS = ("time", "x", "y", "z")
"""Default of `ReadOptions.columns`."""


def text_lines(head: bytes) -> list[str]:
    """The complete lines in the first bytes of a text file; empty if it is not text."""
    head = head.removeprefix(_BOM)
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut off at the end of the head; anywhere else this means that it is not UTF-8.
        text = head[: error.start].decode() if error.start > len(head) - 4 else head.decode("latin-1")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > 2:
        lines.pop()  # cut off, or empty
    return lines if all(line.replace("\t", "").isprintable() for line in lines) else []


def split(line: str, separator: str) -> list[str]:
    """The cells of a line, without surrounding quotes and white space."""
    if separator == " ":
        return without_spaces(line.encode("latin-1", "replace")).decode("latin-1").split()
    return [cell.strip(' "') for cell in next(csv.reader([line], delimiter=separator), [])]


def without_spaces(text: bytes) -> bytes:
    """Text whose cells are separated by white space, with the spaces inside timestamps removed."""
    return _SPACED_ZONE.sub(b"", _SPACED_STAMP.sub(rb"\1T\2", text))


def sniff(lines: Sequence[str], columns: Sequence[str]) -> Dialect | None:
    """The dialect of a table that begins with these lines; None unless it has a header row with at least two of the
    columns, or has no header row but columns known by position."""
    blank = 0
    for index, line in enumerate(lines[: MOST_PREAMBLE + 1]):
        if not line.strip():
            blank += 1
            continue
        after = lines[index + 1 :]
        for separator in SEPARATORS:
            cells = split(line, separator)
            if len(cells) < 4:
                continue
            if _is_header(cells, columns) and (index == blank or _has_numbers(after, separator)):
                usual = _usual_fields(after, separator)
                fields = usual if usual > 1 else len(cells)
                return Dialect(
                    separator, _quoted(after), tuple(cells), fields, index + 1, index - blank, blank
                )  # fmt: skip
            if _is_data(lines[index:], separator, columns):
                return Dialect(separator, _quoted(after), (), len(cells), index, index - blank, blank)
    return None


def column_names(lines: Sequence[str]) -> list[str]:
    """Cells of the first line that looks like at least four column names, at the top; empty if there is none."""
    first = next((line for line in lines if line.strip()), "")
    for separator in SEPARATORS[:3]:
        names = split(first, separator)
        if len(names) >= 4 and not any(number_of(name) is not None for name in names):
            return names
    return []


def _is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    names = {cell.casefold() for cell in cells}
    wanted = {column.strip().casefold() for column in columns}
    if len(names & wanted) >= 2:
        return True
    by_number = [int(column) for column in columns if column.isdecimal()]
    words = not any(number_of(cell) is not None or is_stamp(cell) for cell in cells)
    return len(by_number) >= 2 and max(by_number) <= len(cells) and words and all(cells)


def _has_numbers(lines: Sequence[str], separator: str) -> bool:
    """Whether the next line looks like a row: below other text, a line of names is only a header row if rows follow."""
    cells = split(next((line for line in lines if line.strip()), ""), separator)
    return sum(number_of(cell) is not None for cell in cells) >= 3


def _is_data(lines: Sequence[str], separator: str, columns: Sequence[str]) -> bool:
    """Whether the first two lines are rows of a time and so many numbers that the columns are known by position."""
    rows = [split(line, separator) for line in lines[:LINES_LOOKED_AT] if line.strip()][:2]
    by_number = all(column.isdecimal() for column in columns)
    if len(rows) < 2 or len(rows[0]) != len(rows[1]) or not (by_number or len(rows[0]) in BY_PLACE):
        return False
    if by_number and max(map(int, columns)) > len(rows[0]):
        return False
    time, *axes = (int(column) - 1 for column in columns) if by_number else range(4)
    for row in rows:
        seconds = number_of(row[time])
        timed = is_stamp(row[time]) or (seconds is not None and (by_number or seconds >= FIRST_CLOCK_SECOND))
        if not timed or any(number_of(row[axis]) is None for axis in axes):
            return False
    return True


def _usual_fields(lines: Sequence[str], separator: str) -> int:
    counts = Counter(len(split(line, separator)) for line in lines[:LINES_LOOKED_AT] if line.strip())
    return max(counts, key=lambda fields: counts[fields]) if counts else 0


def _quoted(lines: Sequence[str]) -> bool:
    return any('"' in line for line in lines[:LINES_LOOKED_AT])
