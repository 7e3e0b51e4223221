"""From the device's clock to the wall clock: time zones and daylight saving.

People live by the wall clock; a device that was set to local time at the start does not follow later clock changes.
The signal keeps the device's clock; only statistics by hour of the day use the wall clock.
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

LONGEST_SHIFT = 100 * 365 * 86_400
"""Maximum shift of a clock in seconds; a device whose clock was never set is behind by decades."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def zone(name: str, option: str = "--timezone") -> ZoneInfo:
    """The time zone of that name in the IANA database; `HarnetError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        advice = (
            "pass a name such as Europe/London"
            if available_timezones()
            else "this system has no time zones: pip install tzdata"
        )
        raise HarnetError(f"{option} {name!r}: no such time zone: {advice}") from None


@dataclass(frozen=True)
class Clocks:
    """User-supplied information about the clocks of devices and wearers."""

    place: ZoneInfo | None = None
    """Time zone of the wearers."""
    device: ZoneInfo | None = None
    """Time zone that device clocks were set to; None means that of `place`, unless a file states another offset."""
    behind: int = 0
    """Seconds by which device clocks were behind."""


def seconds_of(text: str) -> int:
    """Parse "90", "-3600", "1:30" (hours and minutes) or "-0:00:20" to seconds; `HarnetError` for anything else."""
    match = re.fullmatch(r"([+-]?)(?:(\d+)|(\d+):([0-5]\d)(?::([0-5]\d))?)", text.strip(), re.ASCII)
    if match is None:
        raise HarnetError(f"--time-shift {text!r}: pass seconds, or hours and minutes, such as --time-shift=-1:00")
    sign, seconds, *clock = match.groups()
    hours, minutes, rest = (int(part or 0) for part in clock)
    behind = int(seconds) if seconds else 3600 * hours + 60 * minutes + rest
    if behind > LONGEST_SHIFT:
        raise HarnetError(f"--time-shift {text!r}: more than 100 years: pass seconds, or hours and minutes")
    return -behind if sign == "-" else behind


def wall_shifts(
    clock: str, start: float, stop: float, clocks: Clocks, utc_offset: int | None = None
) -> tuple[WallShift, ...]:
    """Shifts from the recording's clock to the wearer's wall clock, with the time from which each applies.

    Args:
        clock: `Recording.clock`. "utc": the zone's offset applies from the start. "local": the device was set to the
            wall clock at the start and never again, so only later changes count. "none": no shifts.
        start: First second, on the recording's clock.
        stop: Last second.
        clocks: Time zones of wearer and device.
        utc_offset: UTC offset in seconds of a "local" device, if its file states it.
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
    # Steps of a day are enough: no zone changes its offset twice within a day.
    for early in range(first - ahead, last - ahead, 86400):
        late = min(early + 86400, last - ahead)
        if _offset(early, place) != _offset(late, place):
            change = _change_between(early, late, place)
            shifts.append((change + ahead, _offset(change, place)))
    behind = clocks.behind
    return tuple(WallShift(from_second=at - behind, add_seconds=offset - ahead + behind) for at, offset in shifts)


def in_words(
    shifts: Sequence[WallShift], start: float, clock: str, place: ZoneInfo, behind: int = 0
) -> tuple[Note, ...]:
    """One note per clock change within the recording, and one for a device set to another local time.

    A correction by `Clocks.behind` alone is none: it does not come from another place.
    """
    notes = []
    before = behind
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
    """Hour of the day (0 to 23) by the wall clock, for seconds since 1970 on the recording's clock."""
    return wall_clock(seconds, shifts) // 3600 % 24


def wall_clock(seconds: NDArray[np.int64], shifts: Sequence[WallShift]) -> NDArray[np.int64]:
    """Seconds since 1970 on the wall clock, for seconds since 1970 on the recording's clock."""
    wall = seconds.copy()
    for index, shift in enumerate(shifts):
        until = shifts[index + 1]["from_second"] if index + 1 < len(shifts) else None
        there = seconds >= shift["from_second"]
        if until is not None:
            there &= seconds < until
        wall[there] += shift["add_seconds"]
    return wall


def _offset(utc: int, place: ZoneInfo) -> int:
    """UTC offset in seconds at a time in UTC."""
    offset = (_EPOCH + timedelta(seconds=utc)).astimezone(place).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _offset_of_wall(wall: int, place: ZoneInfo) -> int:
    """UTC offset in seconds at a wall-clock time; the earlier one if that time occurs twice."""
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
