"""From a device's clock to the clock on the wall: time zones and daylight saving.

A wearer lives by the wall clock; a device set to local time when it was started does not know that the clocks changed
since. The signal stays where the device's clock puts it; only facts by hour of the day follow the wall.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import WallShift
from data_shards.notes import Note
from harnet.errors import HarnetError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def zone(name: str, option: str = "--timezone") -> ZoneInfo:
    """The time zone of that name in the IANA database; `HarnetError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        advice = (
            "give a name such as Europe/London"
            if available_timezones()
            else "this system has no time zones: pip install tzdata"
        )
        raise HarnetError(f"{option} {name!r}: no such time zone: {advice}") from None


@dataclass(frozen=True)
class Clocks:
    """What the user knows about the clocks of devices and of their wearers."""

    place: ZoneInfo | None = None
    """Where the wearers were."""
    device: ZoneInfo | None = None
    """Zone to whose local time devices were set; None: that of `place`, unless a file tells another offset."""
    behind: int = 0
    """Seconds by which devices' clocks were slow."""


def seconds_of(text: str) -> int:
    """Seconds in "90", "-3600", "1:30" (hours and minutes) or "-0:00:20"; `HarnetError` for anything else."""
    match = re.fullmatch(r"([+-]?)(?:(\d+)|(\d+):(\d\d)(?::(\d\d))?)", text.strip(), re.ASCII)
    if match is None:
        raise HarnetError(f"--time-shift {text!r}: give seconds, or hours and minutes, such as --time-shift=-1:00")
    sign, seconds, *clock = match.groups()
    hours, minutes, rest = (int(part or 0) for part in clock)
    return (-1 if sign == "-" else 1) * (int(seconds) if seconds else 3600 * hours + 60 * minutes + rest)


def wall_shifts(
    clock: str, start: float, stop: float, clocks: Clocks, utc_offset: int | None = None
) -> tuple[WallShift, ...]:
    """What to add to the recording's clock, and from when on, so that it shows the wall clock of the place.

    Args:
        clock: `Recording.clock`. "utc": the zone's offset is added from the start on. "local": the device was set to
            the wall clock at the start and never since, so only changes after the start count. "none": nothing.
        start: First second, on the recording's clock.
        stop: Last second.
        clocks: Where the wearer was, and what the device was set to.
        utc_offset: Seconds by which the clock of a "local" device was ahead of UTC, where its file says so.
    """
    if clock == "none":
        return ()
    first, last = int(start) + clocks.behind, int(stop) + clocks.behind
    place = clocks.place
    if place is None:
        return (WallShift(from_second=int(start), add_seconds=clocks.behind),) if clocks.behind else ()
    if clock == "utc":
        ahead = 0
    elif clocks.device is None and utc_offset is not None:
        ahead = utc_offset
    else:
        ahead = _offset_of_wall(first, clocks.device or place)
    shifts = []
    if clock == "utc" or _offset(first - ahead, place) != ahead or clocks.behind:
        shifts.append((first, _offset(first - ahead, place)))
    # Steps of a day do: no zone changes its offset twice within one.
    for early in range(first - ahead, last - ahead, 86400):
        late = min(early + 86400, last - ahead)
        if _offset(early, place) != _offset(late, place):
            change = _change_between(early, late, place)
            shifts.append((change + ahead, _offset(change, place)))
    behind = clocks.behind
    return tuple(WallShift(from_second=at - behind, add_seconds=offset - ahead + behind) for at, offset in shifts)


def in_words(shifts: Sequence[WallShift], start: float, clock: str, place: ZoneInfo) -> tuple[Note, ...]:
    """A note for each change of the clocks within the recording, and for a device on another local time."""
    notes = []
    before = 0
    for shift in shifts:
        minutes = (shift["add_seconds"] - before) // 60
        before = shift["add_seconds"]
        if shift["from_second"] <= int(start):
            if clock == "local" and minutes:
                detail = (
                    f"{place.key} was {abs(minutes)} min {'ahead of' if minutes > 0 else 'behind'} the device's clock"
                )
                notes.append(Note("clock of another place", 1, detail))
            continue
        when = (_EPOCH + timedelta(seconds=shift["from_second"])).strftime("%Y-%m-%d %H:%M")
        direction = "forward" if minutes > 0 else "back"
        detail = (
            f"the clocks in {place.key} went {direction} {abs(minutes)} min at {when} on the device's clock, to which "
            "the signal keeps"
        )
        notes.append(Note("clock change", 1, detail))
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
