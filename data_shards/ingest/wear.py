"""Per second of the 30 Hz grid: amount of motion, and whether the device was worn.

Non-wear (Doherty et al. 2017, PLoS ONE 12(2):e0169649): at least 60 consecutive minutes in which the standard
deviation of all three axes is below 13 mg in every 10-second window.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR

WINDOW_SECONDS = 10
"""Length in seconds of the clock-aligned windows in which stillness is determined."""
STILL_G = 0.013
"""Standard deviation in g below which an axis counts as still."""
EPISODE_SECONDS = 3600
"""Minimum length in seconds of a still episode to be non-wear."""

WEAR_RULE = "non-wear: all axes' std < 13 mg in consecutive 10 s windows for >= 60 min (Doherty et al. 2017)"
"""Stored with every recording."""


@dataclass(frozen=True)
class Wear:
    """Per-second arrays of length hours * 3600."""

    motion: NDArray[np.float32]
    """sqrt(var_x + var_y + var_z) in g over the second's 30 samples; 0 where one is missing."""
    wear: NDArray[np.uint8]
    """1 if no sample of the second is missing and the device was worn."""
    complete_seconds: int
    """Seconds without a missing sample."""


@dataclass(frozen=True)
class _Hour:
    """Intermediate results of an hour; wear may depend on the neighbouring hours."""

    motion: NDArray[np.float32]
    """(3600,) as in `Wear`."""
    complete: NDArray[np.bool_]
    """(3600,) whether no sample of the second is missing."""
    still: NDArray[np.bool_]
    """(360,) whether each window is still."""


class WearDetector:
    """Takes clock hours in order and returns each once the next is known, because a still episode may end there.

    Hours without samples may be omitted; they are not still.
    """

    def __init__(self) -> None:
        self._pending: tuple[int, _Hour] | None = None
        self._still_before = 0
        """Number of consecutive still windows just before the pending hour, at most an episode's length."""

    def add(self, hour: int, counts: NDArray[np.int16]) -> tuple[int, Wear] | None:
        """Add an hour (3, 108,000) int16 in counts of 1/4096 g; returns the previous hour, if any."""
        return self._next(hour, _hour(counts))

    def finish(self) -> tuple[int, Wear] | None:
        """Return the last hour, if any."""
        return self._next(-1, None)

    def _next(self, hour: int, found: _Hour | None) -> tuple[int, Wear] | None:
        known = None
        adjoining = found is not None and self._pending is not None and hour == self._pending[0] + 1
        if self._pending is not None:
            this = self._pending[1]
            after = found.still if found is not None and adjoining else np.zeros(0, bool)
            still = np.concatenate([np.ones(self._still_before, bool), this.still, after])
            begin = self._still_before * WINDOW_SECONDS
            worn = this.complete & ~_in_long_run(still)[begin : begin + SECONDS_PER_HOUR]
            known = self._pending[0], Wear(this.motion, worn.astype(np.uint8), int(this.complete.sum()))
            moving = np.flatnonzero(~np.concatenate([np.ones(self._still_before, bool), this.still]))
            together = self._still_before + len(this.still) - (int(moving[-1]) + 1 if len(moving) else 0)
            self._still_before = min(together, EPISODE_SECONDS // WINDOW_SECONDS) if adjoining else 0
        self._pending = None if found is None else (hour, found)
        return known


def detect(counts: NDArray[np.int16]) -> Wear:
    """Motion and wear of whole hours (3, hours * 108,000) int16 in counts of 1/4096 g."""
    assert counts.shape[0] == 3
    assert counts.shape[1] % SAMPLES_PER_HOUR == 0
    detector = WearDetector()
    parts = []
    for hour in range(counts.shape[1] // SAMPLES_PER_HOUR):
        parts.append(detector.add(hour, counts[:, hour * SAMPLES_PER_HOUR : (hour + 1) * SAMPLES_PER_HOUR]))
    known = [part[1] for part in (*parts, detector.finish()) if part is not None]
    return Wear(
        np.concatenate([each.motion for each in known]),
        np.concatenate([each.wear for each in known]),
        sum(each.complete_seconds for each in known),
    )


def _hour(counts: NDArray[np.int16]) -> _Hour:
    sums, squares, complete = _sums(counts)
    motion = np.sqrt(_variance(sums, squares, np.full(len(complete), RATE)).sum(axis=0)) / COUNTS_PER_G
    return _Hour(motion.astype(np.float32), complete, still_windows(sums, squares, complete))


def still_windows(
    sums: NDArray[np.int64], squares: NDArray[np.int64], complete: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(seconds / 10,) whether each window is still, judged by its complete seconds; False if it has none.

    A damaged block of a second or two must not end a still night, so a window is judged by the seconds it has.
    """
    sums, squares = (values.reshape(3, -1, WINDOW_SECONDS).sum(axis=2) for values in (sums, squares))
    samples = RATE * complete.reshape(-1, WINDOW_SECONDS).sum(axis=1)
    variance = _variance(sums, squares, np.maximum(samples, 1))
    below: NDArray[np.bool_] = (variance < (STILL_G * COUNTS_PER_G) ** 2).all(axis=0) & (samples > 0)
    return below


def _sums(counts: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Per second: sums and sums of squares (3, seconds), zero if incomplete, and whether it is complete.

    Integers, so that the variance of a still second is exact despite gravity.
    """
    seconds = counts.reshape(3, -1, RATE)
    complete = (seconds != MISSING).all(axis=(0, 2))
    values = seconds.astype(np.int64) * complete[:, None]
    return values.sum(axis=2), (values**2).sum(axis=2), complete


def _variance(sums: NDArray[np.int64], squares: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Population variance in counts², from exact integers."""
    variance: NDArray[np.float64] = (squares * samples - sums**2) / samples.astype(np.float64) ** 2
    return variance


def _in_long_run(still: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Per second, whether it is part of a run of still windows of at least an hour."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still.astype(np.int8), [0]])))
    seconds = np.zeros(len(still) * WINDOW_SECONDS, bool)
    for start, stop in zip(edges[::2] * WINDOW_SECONDS, edges[1::2] * WINDOW_SECONDS, strict=True):
        if stop - start >= EPISODE_SECONDS:
            seconds[start:stop] = True
    return seconds
