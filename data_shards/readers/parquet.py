"""Parquet files with named columns, one of times and one per axis, read in chunks of row groups."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_shards.readers.device_reader import PER_G, DeviceReader, Found, ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.parquet_pages import check_pages
from data_shards.readers.table import Table
from data_shards.readers.tables.assembly import recording_of
from data_shards.readers.tables.cells import numbers
from data_shards.readers.tables.dialect import Dialect
from data_shards.readers.tables.lines import MINUS
from data_shards.readers.tables.one_device import OneDevice
from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.text import CellTimes, clock_of
from harnet.errors import HarnetError

MAGIC = b"PAR1"
PIECE_ROWS = 1 << 18
MOST_ITEMS = 100_000
"""Maximum length of a list in the footer, such as that of the row groups: Arrow allocates it before it has read it."""


class Parquet(DeviceReader):
    """Reader with the columns, units and checks of CSV tables; timestamps are UTC if they have a zone, else local."""

    kind = "Parquet with the columns time,x,y,z (or those named with --columns)"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the format's magic bytes."""
        return head.startswith(MAGIC)

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """Same as for a CSV table."""
        return Table().settings(options)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` for a missing column, or damage that cannot be repaired."""
        with (
            _readable(path),
            pq.ParquetFile(
                path,
                pre_buffer=False,
                buffer_size=1 << 20,
                thrift_container_size_limit=MOST_ITEMS,
                page_checksum_verification=True,
            ) as file,
        ):
            names = tuple(file.schema_arrow.names)
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise HarnetError(f"{path}: more than one column is called {twice!r}: rename them, and write it again")
            places = Dialect(",", names, len(names), 0).places(options.columns, path)
            columns = [names[place] for place in places]
            for name in columns:
                if pa.types.is_nested(file.schema_arrow.field(name).type):
                    raise _not_numbers(path, name, file.schema_arrow.field(name).type)
            plain = [field.name if _is_plain(field.type) else "" for field in file.schema_arrow]
            device = OneDevice(plain, places, path, "row")
            columns += [names[place] for place in device.places]
            check_pages(path, [place for place, column in enumerate(file.schema) if column.path in columns])
            tally = Tally(path)
            clock, rows = _Content(file, columns, device, options, tally).begun()
            yield Found(recording_of(rows, clock, options, tally, where="row"), label=path.stem)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert Arrow's exceptions for a damaged file to a one-line HarnetError."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise HarnetError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())})") from error


class _Content:
    """The rows of a file in chunks; the clock is known from the first chunk on."""

    def __init__(
        self, file: pq.ParquetFile, columns: list[str], device: OneDevice, options: ReadOptions, tally: Tally
    ) -> None:
        """`columns` are those of time and the axes, then those in `device.places`."""
        self._batches = file.iter_batches(PIECE_ROWS, columns=columns, use_threads=False)
        self._columns, self._of_device = columns[:4], columns[4:]
        self._device = device
        self._per_g = PER_G[options.units]
        self._tally = tally
        self._path = Path(str(tally.named))
        self._cells = CellTimes(self._path, "day" if options.day_first else "", columns[0])
        self._count = 0
        self._clock = ""
        self._per_second = 1.0

    def begun(self) -> tuple[str, Iterator[TableRows]]:
        """The clock, and an iterator over all rows in chunks."""
        rows = self._all()
        first = next(rows, None)
        return self._clock or "none", chain([] if first is None else [first], rows)

    def _all(self) -> Iterator[TableRows]:
        with _readable(self._path):
            for batch in _merged(self._batches):
                if batch.num_rows:
                    yield self._rows(batch)

    def _rows(self, batch: pa.RecordBatch) -> TableRows:
        number = np.arange(self._count + 1, self._count + batch.num_rows + 1)
        self._count += batch.num_rows
        self._device.check(number, [_labels(batch.column(name)) for name in self._of_device])
        times = self._times(batch.column(self._columns[0]))
        acceleration = np.empty((len(number), 3), np.float32)
        for axis, name in enumerate(self._columns[1:]):
            with np.errstate(over="ignore"):
                acceleration[:, axis] = self._floats(batch.column(name), name) / self._per_g
        acceleration[np.isinf(acceleration)] = np.nan
        odd = np.isnan(times)
        if odd.any():
            self._tally.add("missing values", int(odd.sum()), f"the first in row {number[int(np.argmax(odd))]:,}")
        return TableRows(number[~odd], times[~odd], acceleration[~odd])

    def _times(self, column: pa.Array) -> NDArray[np.float64]:
        kind = column.type
        if pa.types.is_timestamp(kind):
            self._clock = "local" if kind.tz is None else "utc"
            whole = pc.cast(column, pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
            seconds: NDArray[np.float64] = pc.fill_null(whole.cast(pa.float64(), safe=False), np.nan).to_numpy() / 1e6
            return seconds
        if _is_text(kind):
            seconds = self._cells.seconds([_texts(column)], len(column))
            self._clock = self._cells.clock
            return seconds
        if pa.types.is_duration(kind):
            self._clock = "none"
            column = pc.divide(column.cast(pa.duration("ns")).cast(pa.int64()).cast(pa.float64(), safe=False), 1e9)
        seconds = self._floats(column, self._columns[0])
        if not self._clock:
            self._clock, self._per_second = clock_of(seconds[np.isfinite(seconds)], self._path, self._columns[0])
        return np.where(np.isfinite(seconds), seconds / self._per_second, np.nan)

    def _floats(self, column: pa.Array, name: str) -> NDArray[np.float64]:
        if _is_text(column.type):
            return numbers(_texts(column))[0]
        try:
            values: NDArray[np.float64] = pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan).to_numpy(
                zero_copy_only=False
            )
        except pa.ArrowNotImplementedError as error:
            raise _not_numbers(self._path, name, column.type) from error
        return np.where(np.isnan(values), np.nan, values)  # arithmetic on a signalling NaN is an error


def _merged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in chunks that are large enough to show the form of their times, with dictionaries decoded.

    Arrow ends a batch with each row group if a column is dictionary-encoded, and a row group may be a single row.
    """
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        columns = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in batch.columns]
        held.append(pa.RecordBatch.from_arrays(columns, batch.schema.names))
        rows += batch.num_rows
        if rows >= PIECE_ROWS:
            yield pa.concat_batches(held)
            held, rows = [], 0
    if held:
        yield pa.concat_batches(held)


def _labels(column: pa.Array) -> pa.Array:
    """Cells as text, and as hexadecimal digits if they are bytes that are no text."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if cell is None else cell.hex() for cell in column.to_pylist()], pa.string())


def _not_numbers(path: Path, name: str, kind: pa.DataType) -> HarnetError:
    return HarnetError(f"{path}: column {name!r} contains {kind}, not numbers: pass another with --columns")


def _is_plain(kind: pa.DataType) -> bool:
    """Whether cells are short and can be written as text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return _is_text(kind) or any(is_one(kind) for is_one in (*kinds, pa.types.is_fixed_size_binary))


def _texts(column: pa.Array) -> pa.Array:
    """Cells as text; as in text tables, each minus sign becomes a hyphen."""
    return pc.replace_substring(column.cast(pa.string()), MINUS, "-")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    # Some writers of columnar files do not mark texts as such.
    return any(is_one(kind) for is_one in (*kinds, pa.types.is_binary, pa.types.is_large_binary))
