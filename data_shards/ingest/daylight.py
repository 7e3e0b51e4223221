"""From a device's clock to the clock on the wall: time zones and daylight saving.

A wearer lives by the wall clock; a device set to local time when it was started does not know that the clocks changed
since. The signal stays where the device's clock puts it; only facts by hour of the day follow the wall.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import WallShift
from data_shards.notes import Note
from harnet.errors import HarnetError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def zone(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database; `HarnetError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        advice = (
            "give a name such as Europe/London"
            if available_timezones()
            else "this system has no time zones: pip install tzdata"
        )
        raise HarnetError(f"--timezone {name!r}: no such time zone: {advice}") from None


def wall_shifts(clock: str, start: float, stop: float, place: ZoneInfo) -> tuple[WallShift, ...]:
    """What to add to the recording's clock, and from when on, so that it shows the wall clock of `place`.

    Args:
        clock: `Recording.clock`. "utc": the zone's offset is added from the start on. "local": the device was set to
            the wall clock at the start and never since, so only changes after the start count. "none": nothing.
        start: First second, on the recording's clock.
        stop: Last second.
        place: Where the wearer was.
    """
    if clock == "none":
        return ()
    first, last = int(start), int(stop)
    set_to = 0 if clock == "utc" else _offset_of_wall(first, place)
    shifts = [WallShift(from_second=first, add_seconds=_offset(first, place))] if clock == "utc" else []
    # Steps of a day do: no zone changes its offset twice within one.
    for early in range(first - set_to, last - set_to, 86400):
        late = min(early + 86400, last - set_to)
        if _offset(early, place) != _offset(late, place):
            change = _change_between(early, late, place)
            shifts.append(WallShift(from_second=change + set_to, add_seconds=_offset(change, place) - set_to))
    return tuple(shifts)


def in_words(shifts: Sequence[WallShift], clock: str, place: ZoneInfo) -> tuple[Note, ...]:
    """A note for each change of the clocks within the recording."""
    notes = []
    before = shifts[0]["add_seconds"] if clock == "utc" and shifts else 0
    for shift in shifts[1:] if clock == "utc" else shifts:
        minutes = (shift["add_seconds"] - before) // 60
        when = (_EPOCH + timedelta(seconds=shift["from_second"])).strftime("%Y-%m-%d %H:%M")
        direction = "forward" if minutes > 0 else "back"
        detail = (
            f"the clocks in {place.key} went {direction} {abs(minutes)} min at {when} on the device's clock, to which "
            "the signal keeps"
        )
        notes.append(Note("clock change", 1, detail))
        before = shift["add_seconds"]
    return tuple(notes)


def clock_hours(seconds: NDArray[np.int64], shifts: Sequence[WallShift]) -> NDArray[np.int64]:
    """Hour of the day on the wall, 0 to 23, of seconds since 1970 on the recording's clock."""
    return wall_clock(seconds, shifts) // 3600 % 24


def wall_clock(seconds: NDArray[np.int64], shifts: Sequence[WallShift]) -> NDArray[np.int64]:
    """Seconds since 1970 on the wall clock, of seconds since 1970 on the recording's clock."""
    wall = seconds.copy()
    for index, shift in enumerate(shifts):
        until = shifts[index + 1]["from_second"] if index + 1 < len(shifts) else None
        there = seconds >= shift["from_second"]
        if until is not None:
            there &= seconds < until
        wall[there] += shift["add_seconds"]
    return wall


def _offset(utc: int, place: ZoneInfo) -> int:
    """Seconds by which the wall clock is ahead of UTC at a moment of UTC."""
    offset = (_EPOCH + timedelta(seconds=utc)).astimezone(place).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _offset_of_wall(wall: int, place: ZoneInfo) -> int:
    """The same at a reading of the wall clock; the earlier one where the reading comes twice."""
    offset = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=place).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _change_between(early: int, late: int, place: ZoneInfo) -> int:
    """The first second of UTC at which the offset is no longer that of `early`."""
    before = _offset(early, place)
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (middle, late) if _offset(middle, place) == before else (early, middle)
    return late
