"""Summarising windows as person-days and people, weighted by wear time.

Each worn window counts for the step between window starts. A day's mean is over its wear time, which is stored with
it as its weight. A person's mean gives every hour of the day the same weight, however often it was worn, which
removes the bias of non-wear at night or at weekends (like the imputation by time of day of Doherty et al. 2017, PLoS
ONE 12(2):e0169649); it is defined only if each hour of the day was worn at least once.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError
from harnet.files import write_atomically

SECONDS_PER_DAY = 86400


class WearSums:
    """Sums the windows of one recording per day and per hour of the day."""

    def __init__(self, size: int, seconds: int) -> None:
        """`size` is the number of values per window; each window represents `seconds` seconds."""
        self.seconds = seconds
        self._size = size
        self._days: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self._windows_by_hour = np.zeros(24)
        self._sums_by_hour = np.zeros((24, size))

    def add(self, wall: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Add windows: `values` (n, size), starting at `wall` (n,) seconds since 1970 on the wall clock."""
        days, hours = wall // SECONDS_PER_DAY, wall // 3600 % 24
        for day in np.unique(days).tolist():
            chosen = values[days == day]
            windows, sums = self._days.get(day, (0, np.zeros(self._size)))
            self._days[day] = (windows + len(chosen), _added(sums, chosen))
        for hour in np.unique(hours).tolist():
            chosen = values[hours == hour]
            self._windows_by_hour[hour] += len(chosen)
            self._sums_by_hour[hour] = _added(self._sums_by_hour[hour], chosen)

    def finished(self) -> "RecordingSummary":
        """The sums so far."""
        days = sorted(self._days)
        return RecordingSummary(
            days=np.array(days, np.int64),
            wear=self.seconds * np.array([self._days[day][0] for day in days], np.float64),
            sums=self.seconds * np.array([self._days[day][1] for day in days]).reshape(len(days), self._size),
            wear_by_hour=self.seconds * self._windows_by_hour,
            sums_by_hour=self.seconds * self._sums_by_hour,
        )


def _added(sums: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.float64]:
    """`sums` (K,) plus the rows of `values` (n, K), one by one: bit-identical however the rows are batched."""
    # numpy sums the first axis row by row; it uses pairwise summation only along the last axis.
    total: NDArray[np.float64] = np.concatenate([sums[None], values]).sum(axis=0)
    return total


@dataclass(frozen=True)
class RecordingSummary:
    """Contribution of one recording to its wearer's person-days and person summary."""

    days: NDArray[np.int64]
    """(d,) days since 1970 on the wall clock, increasing."""
    wear: NDArray[np.float64]
    """(d,) wear time in seconds."""
    sums: NDArray[np.float64]
    """(d, K) sum of value times seconds over the worn windows."""
    wear_by_hour: NDArray[np.float64]
    """(24,) wear time in seconds per hour of the day."""
    sums_by_hour: NDArray[np.float64]
    """(24, K) sum of value times seconds per hour of the day."""

    def save(self, path: Path) -> None:
        """Atomically write a small .npz file; sums are stored as float32, about seven digits."""
        buffer = io.BytesIO()
        arrays = {"days": self.days, "wear": self.wear, "wear_by_hour": self.wear_by_hour}
        narrow = {name: getattr(self, name).astype(np.float32) for name in ("sums", "sums_by_hour")}
        np.savez(buffer, **arrays, **narrow)  # type: ignore[arg-type]
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "RecordingSummary":
        """The inverse of `save`; HarnetError if the file is damaged."""
        try:
            with np.load(path, allow_pickle=False) as found:
                return cls(
                    days=found["days"],
                    wear=found["wear"],
                    sums=found["sums"].astype(np.float64),
                    wear_by_hour=found["wear_by_hour"],
                    sums_by_hour=found["sums_by_hour"].astype(np.float64),
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise HarnetError(f"{path}: damaged ({error}): delete it and run the same command again") from error


@dataclass(frozen=True)
class PersonDay:
    """One person-day, by the wall clock."""

    participant: str
    """Pseudonym."""
    day: np.datetime64
    """Local date."""
    wear_seconds: float
    """Wear time in seconds: the weight of this row."""
    mean: NDArray[np.float64]
    """(K,) mean over the worn windows."""


@dataclass(frozen=True)
class PersonSummary:
    """Summary of all recordings of a person."""

    participant: str
    """Pseudonym."""
    days: int
    """Days with any wear."""
    wear_seconds: float
    """Wear time in seconds."""
    hours_covered: int
    """Number of hours of the day, of 24, that were worn at least once."""
    wear_mean: NDArray[np.float64]
    """(K,) mean over all worn windows: days are weighted by wear time."""
    day_mean: NDArray[np.float64] | None
    """(K,) mean with equal weight for each hour of the day; None unless all 24 were worn."""


def person_tables(participant: str, parts: Iterable[RecordingSummary]) -> tuple[list[PersonDay], PersonSummary | None]:
    """Person-days and person summary from all recordings of a person; the latter is None if nothing was worn."""
    days: dict[int, tuple[float, NDArray[np.float64]]] = {}
    wear_by_hour, sums_by_hour = np.zeros(24), np.zeros((24, 1))
    for part in parts:
        for day, wear, sums in zip(part.days.tolist(), part.wear.tolist(), part.sums, strict=True):
            before = days.get(day, (0.0, np.zeros(1)))
            days[day] = (before[0] + wear, before[1] + sums)
        wear_by_hour = wear_by_hour + part.wear_by_hour
        sums_by_hour = sums_by_hour + part.sums_by_hour
    if not days:
        return [], None
    rows = [PersonDay(participant, np.datetime64(day, "D"), wear, sums / wear)
            for day, (wear, sums) in sorted(days.items())]  # fmt: skip
    covered = wear_by_hour > 0
    total = float(wear_by_hour.sum())
    day_mean = (sums_by_hour / wear_by_hour[:, None]).mean(axis=0) if covered.all() else None
    wear_mean = sums_by_hour.sum(axis=0) / total
    return rows, PersonSummary(participant, len(rows), total, int(covered.sum()), wear_mean, day_mean)
