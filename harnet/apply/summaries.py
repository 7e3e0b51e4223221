"""From windows to person-days and people, weighted by wear.

Each worn window counts for the seconds between two windows' starts. A day's figure is over what was worn of it, with
its wear beside it as the weight. A person's figure gives every hour of the day the same weight, however often it was
worn, which takes away the bias of nights or weekends without wear (as the imputation by time of day of Doherty et al.
2017, PLoS ONE 12(2):e0169649, does); it exists only if each hour of the day was worn at least once.
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
    """Adds up windows of one recording: values by day, and by hour of the day."""

    def __init__(self, size: int, seconds: int) -> None:
        """`size` values a window; each window stands for `seconds`."""
        self.seconds = seconds
        self._size = size
        self._days: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self._windows_by_hour = np.zeros(24)
        self._sums_by_hour = np.zeros((24, size))

    def add(self, wall: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Take in windows (n, size) that start at `wall` (n,) seconds since 1970 on the wall clock."""
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
    """`sums` (K,) and `values` (n, K), added row after row: the same to the last bit in whatever pieces they come."""
    # Along the first axis numpy adds row by row; pairwise it adds along the last one alone.
    total: NDArray[np.float64] = np.concatenate([sums[None], values]).sum(axis=0)
    return total


@dataclass(frozen=True)
class RecordingSummary:
    """What a recording adds to its wearer's days and to the wearer."""

    days: NDArray[np.int64]
    """(d,) days since 1970 on the wall clock, increasing."""
    wear: NDArray[np.float64]
    """(d,) seconds of worn windows."""
    sums: NDArray[np.float64]
    """(d, K) seconds times value over the worn windows."""
    wear_by_hour: NDArray[np.float64]
    """(24,) seconds of worn windows by hour of the day."""
    sums_by_hour: NDArray[np.float64]
    """(24, K) seconds times value by hour of the day."""

    def save(self, path: Path) -> None:
        """Write a small .npz file, whole or not at all; sums as float32, which keeps seven digits."""
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
    """A day of a person, by the wall clock."""

    participant: str
    """Pseudonym."""
    day: np.datetime64
    """The date."""
    wear_seconds: float
    """Seconds of worn windows: the weight of this row."""
    mean: NDArray[np.float64]
    """(K,) mean value over the worn windows."""


@dataclass(frozen=True)
class PersonSummary:
    """All recordings of a person."""

    participant: str
    """Pseudonym."""
    days: int
    """Days with any wear."""
    wear_seconds: float
    """Seconds of worn windows."""
    hours_covered: int
    """Hours of the day, of 24, that were worn at least once."""
    wear_mean: NDArray[np.float64]
    """(K,) mean over all worn windows: days weigh by their wear."""
    day_mean: NDArray[np.float64] | None
    """(K,) mean with the same weight for each hour of the day; None unless all 24 were worn."""


def person_tables(participant: str, parts: Iterable[RecordingSummary]) -> tuple[list[PersonDay], PersonSummary | None]:
    """The rows of one person from all of their recordings; no person row if nothing was worn."""
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
