"""A text table (CSV) with a header row: one column of times and one for each axis. Parquet shares its checks."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_shards.readers.protocol import PER_G, Found, Reader, ReadOptions
from data_shards.recording import Loaded
from harnet.errors import HarnetError

FIRST_CLOCK_SECOND = 315_532_800
"""1980-01-01: numbers before it count seconds from the start of the recording, not from 1970."""
LAST_CLOCK_SECOND = 4_102_444_800
"""2100-01-01: numbers after it are milliseconds or finer."""

_ZONE = r"(?:[zZ]|[+-]\d{2}:?\d{2})$"


class Table(Reader):
    """Times are UNIX seconds (UTC), seconds from the start (no clock), or ISO 8601 (UTC with an offset, else local)."""

    kind = "CSV with the columns time,x,y,z (or those named with --columns)"

    @staticmethod
    def header(head: bytes) -> list[str]:
        """The column names in the first line; empty unless it reads as a line of at least four names."""
        try:
            line = head.split(b"\n", 1)[0].decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return []
        names = next(csv.reader([line]), []) if line.isprintable() else []
        return names if len(names) >= 4 and not any(map(_is_number, names)) else []

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By a header row with at least two of the wanted columns, so that a missing one can be named."""
        return len(set(options.columns) & set(self.header(head))) >= 2

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """Columns and units decide what the numbers mean."""
        return {"columns": ",".join(options.columns), "units": options.units}

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` for a missing column, a bad cell or a time out of order."""
        names = self.header(_first_line(path))
        _check_columns(names, options, path)
        try:
            frame = pd.read_csv(path, usecols=list(options.columns), low_memory=False, encoding="utf-8-sig")
        except ValueError as error:
            raise HarnetError(f"{path}: not a readable table ({' '.join(str(error).split())})") from error
        yield Found(recording_of(frame.pop, names, options, path).stream(), label=path.stem)


def recording_of(
    column: Callable[[str], "pd.Series[float]"], names: Sequence[str], options: ReadOptions, path: Path
) -> Loaded:
    """The recording in a table that has the columns `names`, each of which `column` gives once.

    Raises `HarnetError` for a missing column, a bad cell or a time out of order.
    """
    _check_columns(names, options, path)
    times, clock = _times(column(options.columns[0]), path)
    if len(times) < 2:
        raise HarnetError(f"{path}: {len(times)} data rows: nothing to ingest")
    acceleration = np.empty((len(times), 3), np.float32)
    for axis, name in enumerate(options.columns[1:]):
        cells = column(name)
        with np.errstate(over="ignore"):
            acceleration[:, axis] = _numbers(cells, path) / PER_G[options.units]
        _refuse(path, cells, np.isinf(acceleration[:, axis]), "is no acceleration")
    return Loaded(
        acceleration=acceleration,
        times=times,
        nominal_rate=round(float(1 / np.median(np.diff(times))), 3),
        device="table",
        clock=clock,
    )


def _check_columns(names: Sequence[str], options: ReadOptions, path: Path) -> None:
    for name in options.columns:
        if name not in names:
            raise HarnetError(f"{path}: no column {name!r}; it has {', '.join(names)}: name yours with --columns")


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse(path: Path, column: "pd.Series[float]", bad: NDArray[np.bool_], trouble: str) -> None:
    """Raise for the first row marked in `bad`; rows are counted from 1 below the header."""
    if bad.any():
        row = int(np.argmax(bad))
        raise HarnetError(f"{path}: column {column.name!r}, data row {row + 1}: {str(column.iloc[row])!r} {trouble}")


def _numbers(column: "pd.Series[float]", path: Path) -> NDArray[np.float64]:
    """The cells of a column as finite numbers."""
    empty = column.isna().to_numpy()
    _refuse(path, column, empty, "is no measurement: leave out such rows, a gap in time is kept as missing data")
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    _refuse(path, column, np.isnan(values), "is not a number")
    _refuse(path, column, np.isinf(values), "is not finite: leave out such rows, a gap is kept as missing data")
    return values


def _times(column: "pd.Series[float]", path: Path) -> tuple[NDArray[np.float64], str]:
    """Seconds since 1970 (or since the start), strictly increasing, and which clock they are on."""
    if not len(column):
        return np.zeros(0), "none"
    _refuse(path, column, column.isna().to_numpy(), "is no time: leave out such rows")
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.DatetimeIndex(column)
        times, clock = stamps.as_unit("us").asi8 / 1e6, "local" if stamps.tz is None else "utc"
    elif pd.api.types.is_numeric_dtype(column) or _is_number(str(column.iloc[0])):
        times = _numbers(column, path)
        clock = "utc" if times[0] >= FIRST_CLOCK_SECOND else "none"
        if times[0] > LAST_CLOCK_SECOND:
            raise HarnetError(f"{path}: time {times[0]:.0f} is not in UNIX seconds (milliseconds?): divide it first")
        _refuse(path, column, times < 0, "is before 1970")
    else:
        times, clock = _iso_times(column, path)
    backward = np.concatenate([[False], np.diff(times) <= 0])
    _refuse(path, column, backward, "is not later than the row before: sort the rows and leave out repeated times")
    return times, clock


def _iso_times(column: "pd.Series[float]", path: Path) -> tuple[NDArray[np.float64], str]:
    text = column.astype(str)
    zoned = text.str.contains(_ZONE, regex=True).to_numpy(bool) & text.str.contains(":", regex=False).to_numpy(bool)
    _refuse(path, column, zoned != zoned[0], "differs from the first row in having a UTC offset: give all or none one")
    stamps = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    _refuse(path, column, stamps.isna().to_numpy(), "is neither UNIX seconds nor ISO 8601 (2024-05-31T23:59:59.5)")
    times = stamps.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64) / 1e6
    return times, "utc" if zoned[0] else "local"
