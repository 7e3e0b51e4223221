"""Plot of a recording: one row per day from 0 to 24 h, motion as an area, non-wear and missing data shaded.

The SVG is generated here rather than by a plotting library: a cohort has 100,000 recordings, and this takes
milliseconds and 10 to 25 KB per week, while matplotlib takes half a second and ten times the bytes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import RecordingInfo, WallShift

MINUTES = 1440
"""Minutes per day."""
BIN_MINUTES = 2
"""Bin width; a day is 720 SVG units wide."""
WIDTH = MINUTES // BIN_MINUTES
HEIGHT = 26
"""Height of a day's area in SVG units, and the number of levels of motion."""
PITCH = 32
"""Distance between days in SVG units."""
FULL_MOTION_G = 0.5
"""Motion in g at full height. Heights scale with the square root; otherwise only walking would be visible."""
MISSING, NOT_WORN, WORN = 0, 1, 2


@dataclass(frozen=True)
class Shade:
    """An interval of a day with non-wear or missing data."""

    kind: str
    """"not-worn" or "missing"."""
    x: int
    """Left edge."""
    width: int
    """Width."""


@dataclass(frozen=True)
class Shift:
    """A change of the wall clock."""

    x: int
    """Position, by the new time."""
    label: str
    """Such as "clock +1 h"."""


@dataclass(frozen=True)
class DayRow:
    """One day of the plot."""

    label: str
    """The date, or the day's number if the clock has no date."""
    y: int
    """Top of the row."""
    path: str
    """Outline of the motion of worn bins, in SVG path commands relative to the row's top left corner."""
    shades: tuple[Shade, ...]
    """From left to right."""
    shifts: tuple[Shift, ...]
    """Changes of the clock in this day."""


@dataclass(frozen=True)
class _Clock:
    """How the wall clock differs from the recording's."""

    at_first: int
    """Seconds to add at the first sample to get the wall clock."""
    changes: tuple[WallShift, ...]
    """Later changes."""


def day_rows(info: RecordingInfo, motion: NDArray[np.float32], wear: NDArray[np.uint8]) -> list[DayRow]:
    """The rows of a recording's plot, by the wall clock if it is known.

    Args:
        info: metadata of the recording.
        motion: (hours * 3600,) per second, 0 where a sample is missing.
        wear: (hours * 3600,) per second, 1 where worn.
    """
    state, height = _minutes(motion, wear)
    clock = _clock(info, motion, wear)
    # Where the clock goes back, the later of two equal minutes is drawn.
    at = _wall_minutes(info, clock)
    first_day = int(at.min()) // MINUTES
    days = int(at.max()) // MINUTES - first_day + 1
    states = np.full(days * MINUTES, MISSING, np.uint8)
    heights = np.zeros(days * MINUTES, np.float32)
    states[at - first_day * MINUTES] = state
    heights[at - first_day * MINUTES] = height
    # A bin counts as worn if any of its minutes is, so that short recordings are visible; unworn minutes have height 0.
    paired = states.reshape(days, WIDTH, BIN_MINUTES)
    means = heights.reshape(days, WIDTH, BIN_MINUTES).sum(axis=2) / np.maximum((paired == WORN).sum(axis=2), 1)
    bins = paired.max(axis=2)
    levels = np.clip(np.rint(np.sqrt(means / FULL_MOTION_G) * HEIGHT), 1, HEIGHT).astype(int)
    return [
        DayRow(
            label=_label(info, first_day, day),
            y=day * PITCH,
            path=_outline(bins[day] == WORN, levels[day]),
            shades=tuple(_shades(bins[day])),
            shifts=tuple(_shifts(clock, first_day + day)),
        )
        for day in range(days)
    ]


def _minutes(motion: NDArray[np.float32], wear: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Majority state of each minute, and the mean motion in g of worn minutes.

    A complete second always has some motion, if only noise: motion 0 without wear means that data are missing.
    """
    worn = wear.reshape(-1, 60).astype(bool)
    moved = motion.reshape(-1, 60)
    present = (worn | (moved > 0)).sum(axis=1)
    count = worn.sum(axis=1)
    state = np.where(2 * count >= 60, WORN, np.where(2 * present >= 60, NOT_WORN, MISSING))
    mean = (moved * worn).sum(axis=1) / np.maximum(count, 1)
    return state.astype(np.uint8), np.where(state == WORN, mean, 0).astype(np.float32)


def _wall_minutes(info: RecordingInfo, clock: _Clock) -> NDArray[np.int64]:
    """Minute since 1970 by the wall clock of each minute of the recording."""
    minutes = info.first_hour * 60 + np.arange(info.hours * 60)
    add = np.full(len(minutes), clock.at_first // 60)
    for shift in clock.changes:
        add[minutes * 60 >= shift["from_second"]] = shift["add_seconds"] // 60
    return minutes + add


def _label(info: RecordingInfo, first_day: int, day: int) -> str:
    if info.clock == "none":
        return f"day {day + 1}"
    return f"{datetime.fromtimestamp((first_day + day) * 86_400, UTC):%a %d %b %Y}"


def _outline(worn: NDArray[np.bool_], levels: NDArray[np.int_]) -> str:
    """Closed outlines of the runs of worn bins, in relative steps, so that a quiet night takes a few bytes."""
    parts = []
    for start, stop in _runs(worn):
        parts.append(f"M{start} {HEIGHT}")
        level, along = 0, 0
        for x in range(start, stop):
            if levels[x] != level:
                parts.append(f"h{along}" * (along > 0) + f"v{level - levels[x]}")
                level, along = int(levels[x]), 0
            along += 1
        parts.append(f"h{along}v{level}z")
    return "".join(parts)


def _shades(states: NDArray[np.uint8]) -> list[Shade]:
    return [
        Shade(kind, start, stop - start)
        for kind, value in (("not-worn", NOT_WORN), ("missing", MISSING))
        for start, stop in _runs(states == value)
    ]


def _shifts(clock: _Clock, day: int) -> list[Shift]:
    """Changes of the clock within a day of the wall clock, counted from 1970."""
    before = clock.at_first
    found = []
    for shift in clock.changes:
        minute = (shift["from_second"] + shift["add_seconds"]) // 60
        if minute // MINUTES == day:
            hours = (shift["add_seconds"] - before) / 3600
            found.append(Shift(minute % MINUTES // BIN_MINUTES, f"clock {hours:+g} h"))
        before = shift["add_seconds"]
    return found


def _clock(info: RecordingInfo, motion: NDArray[np.float32], wear: NDArray[np.uint8]) -> _Clock:
    """A shift that applies from the first sample on is no change: it is the offset of a zone, or a correction."""
    first = info.first_hour * 3600 + int(np.argmax((motion > 0) | (wear > 0)))
    begun = [shift for shift in info.wall_shifts if shift["from_second"] <= first]
    return _Clock(begun[-1]["add_seconds"] if begun else 0, info.wall_shifts[len(begun) :])


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in list(pairwise(edges))[::2]]
