"""Builds a recording, with its oddities, from the rows of a table in chunks."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NoReturn
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.device_reader import ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.tables.nominal_rate import nominal_rate
from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.timeline import Timeline
from data_shards.readers.tables.values import Values
from data_shards.readers.tables.wallclock import WallClock
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

LEAST_MEASURED = 100
"""Number of samples whose times show their rate."""
SAME_RATE = 0.1
"""Relative difference from the stated rate that is explained by slow clocks and by lost samples."""


def recording_of(
    rows: Iterable[TableRows],
    clock: str,
    options: ReadOptions,
    tally: Tally,
    *,
    where: str = "line",
    rate: float = 0.0,
    device: str = "table",
    range_g: float | None = None,
    about: Mapping[str, str | int | float] | None = None,
) -> Recording:
    """The recording in a table.

    Args:
        rows: All rows, in the order of the file.
        clock: `Recording.clock` of their times.
        options: User options for tables.
        tally: Oddities so far; `tally.named` is the file.
        where: What `TableRows.number` counts.
        rate: Configured sampling rate of the device in Hz; 0 if the file does not state it.
        device: `Recording.device`.
        range_g: `Recording.range_g`.
        about: `Recording.metadata`.

    Raises:
        HarnetError: there are more oddities than can be repaired, or no samples; also while reading the chunks.
    """
    if clock == "local":
        place = None if options.timezone is None else ZoneInfo(options.timezone)
        rows = map(WallClock(place, tally.named, where).feed, rows)
    timeline = Timeline(tally, options.rate, where, clock=clock)
    placed = _placed(rows, timeline)
    first = next(placed, None)
    if first is not None:
        rate = _agreed(rate, first.times, tally) or options.rate or nominal_rate(first.times)
    if first is None or not rate:
        _refuse(0 if first is None else len(first), timeline, tally)
    values = Values(tally, where, rate, range_g)
    return Recording(
        pieces=_pieces(chain([first], placed), values, timeline, tally),
        nominal_rate=rate,
        device=device,
        clock=clock,
        range_g=range_g,
        notes=tally.notes,
        metadata=dict(about or {}),
    )


def _agreed(stated: float, times: NDArray[np.float64], tally: Tally) -> float:
    """The sampling rate that a file states, 0 if none. Raises `HarnetError` if times that it states too contradict."""
    measured = nominal_rate(times) if stated and len(times) >= LEAST_MEASURED else stated
    if abs(measured - stated) > SAME_RATE * stated:
        raise HarnetError(
            f"{tally.named}: the header states {stated:g} Hz, but by their timestamps the rows have {measured:.4g} Hz: "
            "export it again"
        )
    return stated


def _pieces(placed: Iterable[TableRows], values: Values, timeline: Timeline, tally: Tally) -> Iterator[SampleChunk]:
    count = 0
    for rows, last in _with_last(placed):
        usable = values.feed(rows, last)
        count += len(usable)
        if len(usable):
            yield SampleChunk(usable.times, usable.acceleration)
    tally.judge(_met(timeline, tally))
    if count < 2:
        _refuse(count, timeline, tally)


def _met(timeline: Timeline, tally: Tally) -> int:
    return timeline.rows + tally.count("foreign lines")


def _refuse(count: int, timeline: Timeline, tally: Tally) -> NoReturn:
    """Raise HarnetError with the reason why there are no samples."""
    met = _met(timeline, tally)
    tally.judge(met)
    why = "; ".join(map(str, tally.notes()))
    told = f" ({why})" if why else ""
    raise HarnetError(f"{tally.named}: {count} of {met} data rows are valid: nothing to ingest{told}")


def _placed(rows: Iterable[TableRows], timeline: Timeline) -> Iterator[TableRows]:
    for piece in rows:
        if len(settled := timeline.feed(piece)):
            yield settled
    rest = timeline.finish()
    if rest is not None and len(rest):
        yield rest


def _with_last(pieces: Iterable[TableRows]) -> Iterator[tuple[TableRows, bool]]:
    """Yield each chunk, and whether it is the last one."""
    before = None
    for piece in pieces:
        if before is not None:
            yield before, False
        before = piece
    if before is not None:
        yield before, True
