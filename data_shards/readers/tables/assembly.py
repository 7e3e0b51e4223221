"""Builds a recording, with its oddities, from the rows of a table in chunks."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NoReturn
from zoneinfo import ZoneInfo

from data_shards.readers.device_reader import ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.timeline import Timeline, nominal_rate
from data_shards.readers.tables.values import Values
from data_shards.readers.tables.wallclock import WallClock
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError


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
        rate = rate or options.rate or nominal_rate(first.times)
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
