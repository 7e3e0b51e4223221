"""The rows of a text table, in chunks, with times from a column of timestamps or from the row numbers."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.tables.cells import Cells, numbers, texts
from data_shards.readers.tables.column_names import units_per_second
from data_shards.readers.tables.dialect import Dialect
from data_shards.readers.tables.lines import line_chunks
from data_shards.readers.tables.one_device import OneDevice
from data_shards.readers.tables.stamps import FIRST_CLOCK_SECOND, LAST_CLOCK_SECOND, Stamps, is_stamp, number_of
from data_shards.readers.tables.table_rows import TableRows
from harnet.errors import HarnetError

_FIRST_CELLS = 1000
_NOT_KEPT = re.compile(r"[^ -~]|\?")
UNITS_PER_SECOND = (1.0, 1e3, 1e6, 1e9)
"""UNIX times are in seconds, milliseconds, microseconds or nanoseconds: the numbers of 1980 to 2100 do not overlap."""
TICKS = (6.2e17, 6.9e17)
"""Ticks of .NET, of 100 ns since the year 1, from 1965 to 2187; as nanoseconds they would be UNIX times of 1990."""
MANY = 100_000
"""Number of rows after which a table of mostly foreign lines is refused."""


class Times(Protocol):
    """Provides the times of samples."""

    clock: str
    """`Recording.clock`; empty before the first cells."""

    def seconds(self, cells: Sequence[pa.Array], rows: int) -> NDArray[np.float64]:
        """(rows,) seconds, NaN where a cell is not a time. `cells` contains the column of times if there is one."""


class CellTimes:
    """Times from the cells of a column: numbers or timestamps, like most of the first ones."""

    def __init__(self, path: Path, date_order: str = "", column: str = "") -> None:
        """`column` is the name of the column, which may state a unit."""
        self.clock = ""
        self._column = column
        self._path = path
        self._stamps: Stamps | None = None
        self._per_second = 1.0
        self._date_order = date_order

    def seconds(self, cells: Sequence[pa.Array], rows: int) -> NDArray[np.float64]:
        """See `Times`. Raises `HarnetError` if the first cells are not times, or are ambiguous dates."""
        (column,) = cells
        if not self.clock:
            self._begin(column)
        if self._stamps is not None:
            return self._stamps.seconds(texts(column))
        return numbers(column)[0] / self._per_second

    def _begin(self, column: pa.Array) -> None:
        some = [cell or "" for cell in column[:_FIRST_CELLS].to_pylist()]
        stamps = Stamps(self._date_order)
        try:
            found = stamps.begin(some)
        except HarnetError as error:
            raise HarnetError(f"{self._path}: {error}") from error
        if found and 2 * sum(map(is_stamp, some)) >= len(some):
            self._stamps = stamps
            self.clock = "utc" if stamps.utc else "local"
            return
        values, _ = numbers(column)
        values = values[~np.isnan(values)]
        if 2 * len(values) < len(column):
            first = next((cell for cell in some if cell.strip()), "")
            raise HarnetError(
                f"{self._path}: time {first[:40]!r} is neither UNIX seconds nor ISO 8601 (2024-05-31T23:59:59.5): name "
                "the column of times with --columns; if date and time of day are in two columns, join them"
            )
        self.clock, self._per_second = clock_of(values, self._path, self._column)


class CountedTimes:
    """Times of rows at a constant rate from a given start."""

    def __init__(self, start: float, rate: float, clock: str) -> None:
        self.clock = clock
        self._start = start
        self._rate = rate
        self._count = 0

    def seconds(self, cells: Sequence[pa.Array], rows: int) -> NDArray[np.float64]:
        """See `Times`; computed from the number of rows."""
        times = self._start + np.arange(self._count, self._count + rows) / self._rate
        self._count += rows
        return times


class TextRows:
    """Rows of one text file; can be iterated once. The clock is known from the first chunk on."""

    def __init__(
        self, path: Path, dialect: Dialect, places: Sequence[int], times: Times, per_g: float, tally: Tally
    ) -> None:
        """`places` are column indices: the column of times, if `times` takes one, then the three axes."""
        self._tally = tally
        self._times = times
        self._per_g = per_g
        self._header = [_bare(dialect.names[place]) for place in places] if dialect.names else []
        self._names = [repr(dialect.names[place]) if dialect.names else f"{place + 1}" for place in places]
        tally.add("blank lines", dialect.blank)
        tally.add("preamble lines", dialect.preamble)
        self._met = 0
        self._device = OneDevice(dialect.names[: dialect.fields], places, tally.named, "line")
        cells = Cells(dialect, [*self._device.places, *places], tally)
        self._pieces = (cells.columns(piece) for piece in line_chunks(path, dialect.skip))

    def begun(self) -> tuple[str, Iterator[TableRows]]:
        """The clock, and an iterator over all rows in chunks."""
        rows = (self._rows(number, columns) for number, columns in self._pieces if len(number))
        first = next(rows, None)
        return self._times.clock or "none", chain([] if first is None else [first], rows)

    def _rows(self, number: NDArray[np.int64], columns: Sequence[pa.Array]) -> TableRows:
        self._met += len(number)
        device, columns = columns[: len(self._device.places)], columns[len(self._device.places) :]
        times = self._times.seconds(columns[:-3], len(number))
        acceleration = np.empty((len(number), 3), np.float32)
        odd = np.zeros((len(columns), len(number)), bool)
        if len(columns) == 4:
            odd[0] = ~np.isfinite(times)
        for axis, column in enumerate(columns[-3:]):
            values, odd[axis - 3] = numbers(column)
            with np.errstate(over="ignore"):
                acceleration[:, axis] = values / self._per_g
        acceleration[np.isinf(acceleration)] = np.nan
        if odd.any():
            # An empty cell is a missing value; a cell with words means that the line is not a row of the table.
            rows = odd.any(axis=0)
            self._refuse_joined(number, columns, odd)
            first = int(np.argmax(rows))
            where = f"the first in line {number[first]:,}, column {self._names[int(np.argmax(odd[:, first]))]}"
            self._tally.add("foreign lines", int(rows.sum()), where)
            self._judge_early()
            number, times, acceleration = number[~rows], times[~rows], acceleration[~rows]
            device = [column.filter(pa.array(~rows)) for column in device]
        self._device.check(number, device)
        return TableRows(number, times, acceleration)

    def _refuse_joined(self, number: NDArray[np.int64], columns: Sequence[pa.Array], odd: NDArray[np.bool_]) -> None:
        """Refuse a file with a second header row that has the columns in other places, as its axes would be swapped;
        and, if times are counted, one with a second start, as all later samples would get wrong times."""
        for row in np.flatnonzero(odd.all(axis=0)).tolist():
            cells = [_bare(bytes(column[row].as_buffer() or b"").decode(errors="replace")) for column in columns]
            if cells != self._header and not set(filter(None, cells)).isdisjoint(self._header):
                raise HarnetError(
                    f"{self._tally.named}: line {number[row]:,} is a header row with other columns than the first one: "
                    "files were joined: split it there"
                )
            if len(columns) == 3 and len(set(cells)) == 1 and _is_start(cells[0]):
                raise HarnetError(
                    f"{self._tally.named}: line {number[row]:,} is the start of another session: files were joined: "
                    "split it there"
                )

    def _judge_early(self) -> None:
        """Stop early if the file is not a table, without reading gigabytes to the end."""
        if self._met >= MANY and self._tally.count("foreign lines") > self._met / 2:
            self._tally.judge(self._met)


def _is_start(cell: str) -> bool:
    """Whether a cell, in lower case, contains a date and time of day, or UNIX seconds."""
    return is_stamp(cell) or (number_of(cell) or 0) >= FIRST_CLOCK_SECOND


def _bare(name: str) -> str:
    """A column's name without what differs if the same header row is written again: case, quotes, the sign of a
    comment; and without the characters that are not kept in rows."""
    return _NOT_KEPT.sub("", name).strip(' #%"').casefold()


def clock_of(times: NDArray[np.float64], path: Path, column: str) -> tuple[str, float]:
    """Clock of numeric times, "utc" or "none", and their units per second.

    The unit is the one that the column's name states, if any. Otherwise that of UNIX times, s to ns, follows from their
    size, and smaller numbers are seconds from the start.

    Raises:
        HarnetError: they are of this century in no unit.
    """
    usual = float(np.median(times)) if len(times) else 0.0
    stated = units_per_second(column) or 1.0
    if usual / stated < FIRST_CLOCK_SECOND:
        return "none", stated
    for per_second in UNITS_PER_SECOND:
        if FIRST_CLOCK_SECOND <= usual / per_second <= LAST_CLOCK_SECOND and not TICKS[0] <= usual <= TICKS[1]:
            return "utc", per_second
    raise HarnetError(f"{path}: time {times[0]:.0f} is not a UNIX time in s, ms, µs or ns: name another with --columns")
