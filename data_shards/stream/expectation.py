"""Expected number of windows of each hour in an epoch: its share of its person-day's draws, by motion mass.

Designed for tens of millions of hours: person-days are runs of neighbouring rows that are processed in pieces, so that
memory does not grow with the number of rows, and columns may be memory-mapped from a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.shards.manifest import Manifest

_PIECE = 1 << 20
"""Hours processed at a time, approximately."""

LEAST_MASS = 1e-9
"""Lower bound of an hour's motion mass in g·s, so that a day without any motion is drawn too, uniformly."""


@dataclass(frozen=True)
class PersonDays:
    """The hours of a split, grouped by person and calendar day."""

    rows: NDArray[np.int32]
    """(n,) row numbers in the manifest."""
    bounds: NDArray[np.int64]
    """(days + 1,) indices into `rows` at which each day starts, and the end of the last."""

    @property
    def count(self) -> int:
        """Number of person-days."""
        return len(self.bounds) - 1


def person_days(manifest: Manifest, split: str) -> PersonDays:
    """The person-days of a split, in order of their first row."""
    rows = manifest.rows(split).astype(np.int32)
    changes = np.flatnonzero(_changes(manifest, rows))
    codes = manifest.person_day(rows[changes])
    if len(np.unique(codes)) != len(codes):
        # All rows are sorted only if two recordings of one person-day are not adjacent.
        rows = rows[np.argsort(manifest.person_day(rows), kind="stable")]
        changes = np.flatnonzero(_changes(manifest, rows))
    return PersonDays(rows, np.concatenate([changes, [len(rows)]]) if len(rows) else np.zeros(1, np.int64))


def _changes(manifest: Manifest, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(n,) whether a row belongs to another person-day than the previous one."""
    changes = np.ones(len(rows), bool)
    participant = manifest.columns["participant"][rows]
    changes[1:] = participant[1:] != participant[:-1]
    del participant
    day = manifest.columns["hour"][rows] // 24
    changes[1:] |= day[1:] != day[:-1]
    return changes


@dataclass(frozen=True)
class Expectation:
    """Expectations of a piece of complete person-days."""

    days: slice
    """The person-days."""
    hours: slice
    """Their hours in `PersonDays.rows`."""
    firsts: NDArray[np.int64]
    """(d,) index of each day's first hour within the piece."""
    lengths: NDArray[np.int64]
    """(d,) number of hours of each day."""
    starts: NDArray[np.int16]
    """(h,) number of possible window starts in each hour."""
    windows: NDArray[np.float64]
    """(h,) expected windows of each hour per epoch."""


def expectations(
    manifest: Manifest, days: PersonDays, window_seconds: int, draws_per_day: int
) -> Iterator[Expectation]:
    """Yield the expectations, piece by piece."""
    day = 0
    while day < days.count:
        stop = max(day + 1, int(np.searchsorted(days.bounds, days.bounds[day] + _PIECE, side="right")) - 1)
        hours = slice(int(days.bounds[day]), int(days.bounds[stop]))
        firsts = days.bounds[day:stop] - days.bounds[day]
        lengths = np.diff(days.bounds[day : stop + 1])
        rows = days.rows[hours]
        starts = manifest.columns[f"starts_{window_seconds}"][rows]
        mass = np.maximum(manifest.columns["motion_mass"][rows].astype(np.float64), LEAST_MASS)
        mass *= starts > 0
        possible = np.add.reduceat(starts, firsts, dtype=np.int64)
        rate = np.minimum(draws_per_day, possible) / np.maximum(np.add.reduceat(mass, firsts), LEAST_MASS)
        windows = np.minimum(np.repeat(rate, lengths) * mass, starts)
        yield Expectation(slice(day, stop), hours, firsts, lengths, starts, windows)
        day = stop


def due_windows(manifest: Manifest, split: str, window_seconds: int, draws_per_day: int) -> int:
    """Expected windows of a split per epoch, over all hours."""
    days = person_days(manifest, split)
    pieces = expectations(manifest, days, window_seconds, draws_per_day)
    return whole(sum(float(piece.windows.sum()) for piece in pieces))


def whole(due: float) -> int:
    """Integer part of a sum whose rounding errors may leave it just below the true integer."""
    return int(due + 1e-6)


def expected_windows(
    manifest: Manifest, split: str, window_seconds: int, draws_per_day: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rows of a split, and the expected windows of each per epoch."""
    days = person_days(manifest, split)
    pieces = [piece.windows for piece in expectations(manifest, days, window_seconds, draws_per_day)]
    return days.rows, np.concatenate(pieces) if pieces else np.empty(0)
