"""Detects the dialect of a text table from its first lines: separator, column names, start of the data."""

import csv
import math
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from data_shards.readers.tables.column_names import meaning_of
from data_shards.readers.tables.lines import MINUS, encoding_of
from data_shards.readers.tables.stamps import FIRST_CLOCK_SECOND, is_stamp, number_of
from harnet.errors import HarnetError

SEPARATORS = ("\t", ";", "|", ",", " ")
"""Separators in the order in which they are tried. A comma may be a decimal comma; a space means any white space."""
MOST_PREAMBLE = 100
"""Maximum number of lines of other text before the header row, which are skipped."""
LINES_LOOKED_AT = 40
BY_PLACE = (4, 7)
"""Possible numbers of columns in a table without header row: time, x, y, z, and optionally three gyroscope axes."""

ABSENT = ("", "nan", "na", "null", "none", "-")
"""Usual ways to write that a value is missing."""
_SPACED_STAMP = re.compile(rb"(\d{1,4}[-/.](?:\d{1,2}|[A-Za-z]{3,9})[-/.]\d{1,4})[ \t]+(\d{1,2}:)")
_SPACED_OFFSET = re.compile(rb"(?<=\d)[ \t]+(UTC|GMT)(?=[+\- \t])")
_SPACED_ZONE = re.compile(rb"[ \t]+\[[\w+\-/]+\]")
_DIGITS_OF_A_FRACTION = re.compile(r"0\d+")


@dataclass(frozen=True)
class Dialect:
    """How to read the lines of one table."""

    separator: str
    """One of `SEPARATORS`."""
    names: tuple[str, ...]
    """Column names as written, stripped; empty if there is no header row."""
    fields: int
    """Number of cells per row."""
    skip: int
    """Number of lines before the first row of data."""
    preamble: int = 0
    """Number of skipped lines that are neither blank nor the header row."""
    blank: int = 0
    """Number of skipped lines that are blank."""
    heading: bytes = b""
    """Text that every header has: if it occurs again, below the header, recordings were joined."""

    def places(self, columns: Sequence[str], path: Path) -> list[int]:
        """Index of each column, given by name or by number from 1; `HarnetError` if one does not exist."""
        by_number = all(column.isdecimal() for column in columns)
        surplus = len(self.names) - self.fields
        # In columns separated by white space, names without cells are not necessarily the last ones.
        if self.names and not by_number and (surplus < 0 or (surplus > 0 and self.separator == " ")):
            cause = "white space within cells, or empty cells" if self.separator == " " else "decimal commas"
            raise HarnetError(
                f"{path}: the header row names {len(self.names)} columns, but rows have {self.fields} cells: if that "
                f"comes from {cause}, export with another separator; else pass columns by number, such as "
                "--columns 1 2 3 4"
            )
        places = [self._place(column, tuple(columns), path) for column in columns]
        if max(places) >= self.fields:
            raise HarnetError(
                f"{path}: most rows have {self.fields} cells, too few for the columns {', '.join(columns)}: name yours "
                "with --columns, or export the file again"
            )
        if len(set(places)) < len(places):
            raise HarnetError(f"{path}: the columns {', '.join(columns)} are not four different ones: check --columns")
        return places

    def _place(self, column: str, columns: tuple[str, ...], path: Path) -> int:
        name = column.strip().casefold()
        alike = [index for index, other in enumerate(self.names) if other == column]
        alike = alike or [index for index, other in enumerate(self.names) if other.casefold() == name]
        if not alike and name in DEFAULT_COLUMNS:
            alike = [index for index, other in enumerate(self.names) if meaning_of(other) == name]
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
    """The complete lines in the first bytes of a text file, up to the first that is not text."""
    encoding = encoding_of(head)
    if encoding:
        head = head[: len(head) // 2 * 2].decode(encoding, "replace").encode()
    head = head.removeprefix(BOM_UTF8)
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut off at the end of the head; anywhere else this means that it is not UTF-8.
        text = head[: error.start].decode() if error.start > len(head) - 4 else head.decode("latin-1")
    lines = text.replace(MINUS, "-").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > 2:
        lines.pop()  # cut off, or empty
    return list(takewhile(lambda line: line.replace("\t", "").isprintable(), lines))


def split(line: str, separator: str) -> list[str]:
    """The cells of a line, without surrounding quotes and white space."""
    if separator == " ":
        cells = without_spaces(line.encode("latin-1", "replace")).decode("latin-1").split()
        return [cell.strip('"') for cell in cells]
    return [cell.strip(' "') for cell in next(csv.reader([line], delimiter=separator), [])]


def without_spaces(text: bytes) -> bytes:
    """Text whose cells are separated by white space, with the spaces inside timestamps removed."""
    return _SPACED_ZONE.sub(b"", _SPACED_OFFSET.sub(rb"\1", _SPACED_STAMP.sub(rb"\1T\2", text)))


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
            cells = split(line.lstrip("#% "), separator)
            if len(cells) < 4:
                continue
            if _is_header(cells, columns) and _has_numbers(after, separator, optional=index == blank):
                names = _names_of_fields(cells, after, separator)
                usual = _usual_fields(after, separator)
                fields = usual if usual > 1 else len(cells)
                return Dialect(separator, names, fields, index + 1, index - blank, blank)
            if _is_data(lines[index:], separator, columns):
                above = next((line for line in reversed(lines[:index]) if line.strip()), "")
                if _names_columns(split(above, separator), len(cells)):
                    return None
                return Dialect(separator, (), len(cells), index, index - blank, blank)
    return None


def _names_of_fields(names: Sequence[str], lines: Sequence[str], separator: str) -> tuple[str, ...]:
    """The names with those that a program left out: of row numbers before, or of empty cells after the others.

    Names of the parts of a timestamp that contains spaces become one. If there are still fewer names than cells, the
    columns cannot be identified by name.
    """
    lines = [line for line in lines[:LINES_LOOKED_AT] if line.strip()]
    rows = [split(line, separator) for line in lines]
    usual = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    line, row = next(((line, row) for line, row in zip(lines, rows, strict=True) if len(row) == usual), ("", []))
    if separator == " " and len(line.split()) == len(names) > usual:
        stamp = next((index for index, cell in enumerate(row) if is_stamp(cell)), 0)
        parts = len(names) - usual + 1
        names = [*names[:stamp], " ".join(names[stamp : stamp + parts]), *names[stamp + parts :]]
    rows = [row for row in rows if len(row) > len(names)]
    if rows and not any(cell for row in rows for cell in row[len(names) :]):
        return (*names, *[""] * (max(map(len, rows)) - len(names)))
    numbers = [row[0] for row in rows if len(row) == len(names) + 1]
    first = int(numbers[0]) if numbers and numbers[0].isdecimal() else 0
    counted = numbers and numbers == [f"{first + index}" for index in range(len(numbers))]
    return ("", *names) if counted else tuple(names)


def _names_columns(cells: Sequence[str], count: int) -> bool:
    """Whether a line above the data is a header row: such columns are never taken by position."""
    return len(cells) == count and all(cells) and all(number_of(cell) is None and not is_stamp(cell) for cell in cells)


def column_names(lines: Sequence[str]) -> list[str]:
    """Cells of the first line that looks like at least four column names, at the top; empty if there is none."""
    first = next((line for line in lines if line.strip()), "")
    for separator in SEPARATORS[:-1]:
        names = split(first, separator)
        if len(names) >= 4 and not any(number_of(name) is not None for name in names):
            return names
    return []


def no_header_hint(lines: Sequence[str]) -> str:
    """What to do about a table without a header row whose columns are not known by position; empty if it is none."""
    lines = [line for line in lines[:LINES_LOOKED_AT] if line.strip()]
    for separator in SEPARATORS[:-1]:
        rows = [split(line, separator) for line in lines]
        fields = len(rows[0]) if rows else 0
        if len(rows) < 2 or fields < 4 or not all(len(row) == fields and _is_row(row, separator) for row in rows):
            continue
        if separator == "," and any(_DIGITS_OF_A_FRACTION.fullmatch(cell) for row in rows for cell in row):
            return "commas are both separators and decimal signs: export with another separator"
        return (
            f"it has no header row and {fields} columns: pass the numbers of those of time, x, y and z, such as "
            "--columns 1 2 3 4"
        )
    return ""


def _is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    names = {cell.casefold() for cell in cells} | {meaning_of(cell) for cell in cells}
    wanted = {column.strip().casefold() for column in columns}
    if len(names & wanted) >= 2:
        return True
    by_number = [int(column) for column in columns if column.isdecimal()]
    return len(by_number) >= 2 and max(by_number) <= len(cells) and _names_columns(cells, len(cells))


def _has_numbers(lines: Sequence[str], separator: str, optional: bool) -> bool:
    """Whether the next line, or the one after a line of units, looks like a row: below other text, a line of names is
    only a header row if rows follow.

    If that is `optional`, as at the top of a file, any of the lines may look like a row, and there may be none.
    """
    following = [line for line in lines[:LINES_LOOKED_AT] if line.strip()]
    looked_at = following if optional else following[:2]
    return (optional and not following) or any(_is_row(split(line, separator), separator) for line in looked_at)


def _is_row(cells: Sequence[str], separator: str) -> bool:
    """Whether at least three cells are numbers, a stamp or empty, and not all of them empty.

    Between spaces, where any text has cells, these must be half of them.
    """
    there = sum(number_of(cell) is not None or is_stamp(cell) for cell in cells)
    least = max(3, len(cells) / 2) if separator == " " else 3
    return there > 0 and there + sum(cell.casefold() in ABSENT for cell in cells) >= least


def _is_data(lines: Sequence[str], separator: str, columns: Sequence[str]) -> bool:
    """Whether the first line is a row of a time and so many numbers that the columns are known by position; it may lack
    numbers, but not all of the next lines may."""
    rows = [split(line, separator) for line in lines[:LINES_LOOKED_AT] if line.strip()]
    by_number = all(column.isdecimal() for column in columns)
    fields = len(rows[0]) if rows else 0
    if not (fields >= max(map(int, columns)) if by_number else fields in BY_PLACE):
        return False
    time, *axes = (int(column) - 1 for column in columns) if by_number else range(4)
    earliest = -math.inf if by_number else FIRST_CLOCK_SECOND
    rows = [row for row in rows if len(row) == fields]
    if separator == "," and any(_DIGITS_OF_A_FRACTION.fullmatch(cell) for row in rows[:2] for cell in row):
        return False  # decimal commas between commas
    missing = [_missing(row[time], [row[axis] for axis in axes], earliest) for row in rows]
    return missing[0] is not None and missing.count(0) >= 2


def _missing(time: str, axes: Sequence[str], earliest: float) -> int | None:
    """How many numbers of a row are missing; None if it is not a row of the table."""
    seconds = number_of(time)
    if not is_stamp(time) and (seconds is None or seconds < earliest):
        return None
    others = [cell.casefold() for cell in axes if number_of(cell) is None]
    return len(others) if all(cell in ABSENT for cell in others) else None


def _usual_fields(lines: Sequence[str], separator: str) -> int:
    counts = Counter(len(split(line, separator)) for line in lines[:LINES_LOOKED_AT] if line.strip())
    return max(counts, key=lambda fields: counts[fields]) if counts else 0
