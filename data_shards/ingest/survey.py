"""One pass over a device's samples: sums per second, from which stillness, units and calibration follow."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.recording import Loaded
from harnet.errors import HarnetError

CLIP_TOLERANCE = 0.004
"""Share of the full scale. A range of 8 g in two's complement ends at +7.996 (10 bits); scaled codes round."""

_PIECE = 1 << 18
"""Samples at a time: temporaries of some 20 MB, whatever the length of the recording."""


@dataclass(frozen=True)
class Survey:
    """Per clock second that holds a sample, and of all samples."""

    seconds: NDArray[np.int64]
    """(m,) since 1970, strictly increasing."""
    samples: NDArray[np.int64]
    """(m,) samples in that second."""
    sums: NDArray[np.float64]
    """(3, m) sums in g."""
    squares: NDArray[np.float64]
    """(3, m) sums of squares in g²."""
    clipped_share: float
    """Share of all samples with an axis at the full scale; 0 where the range is not known."""

    def windows(self, length: int) -> "Survey":
        """The same per window of `length` seconds of the clock, each named after its first second."""
        first = self.seconds // length * length
        return _merged(first, self.samples, self.sums, self.squares, self.clipped_share)

    @property
    def means(self) -> NDArray[np.float64]:
        """(3, m) in g."""
        return self.sums / self.samples

    @property
    def variances(self) -> NDArray[np.float64]:
        """(3, m) in g², population variance; never below 0."""
        variances: NDArray[np.float64] = np.maximum(self.squares / self.samples - self.means**2, 0)
        return variances


def survey(recording: Loaded, named: str) -> Survey:
    """Go over all samples once.

    Raises:
        HarnetError: a sample is not finite; the line begins with `named`.
    """
    limit = None if recording.range_g is None else np.float32(recording.range_g * (1 - CLIP_TOLERANCE))
    parts = []
    clipped = 0
    for start, signal in _pieces(recording):
        if limit is not None:
            clipped += int((np.abs(signal) >= limit).any(axis=0).sum())
        second = np.floor(recording.times[start : start + _PIECE]).astype(np.int64)
        edges = np.concatenate([[0], np.flatnonzero(np.diff(second)) + 1])
        double = signal.astype(np.float64)
        sums = np.add.reduceat(double, edges, axis=1)
        if not np.isfinite(sums).all():
            _raise_not_finite(signal, start, named)
        np.square(double, out=double)
        parts.append((second[edges], np.diff(edges, append=len(second)), sums, np.add.reduceat(double, edges, axis=1)))
    seconds, samples, sums, squares = (np.concatenate(values, axis=-1) for values in zip(*parts, strict=True))
    return _merged(seconds, samples, sums, squares, clipped / len(recording.times))


def _pieces(recording: Loaded) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Index of the first sample, and (3, n) samples with each axis in one run of memory."""
    for start in range(0, len(recording.times), _PIECE):
        yield start, np.ascontiguousarray(recording.acceleration[start : start + _PIECE].T)


def _merged(
    seconds: NDArray[np.int64],
    samples: NDArray[np.int64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    clipped_share: float,
) -> Survey:
    """One entry for each run of equal `seconds`: a piece may end within a second."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(seconds)) + 1])
    return Survey(
        seconds[edges],
        np.add.reduceat(samples, edges),
        np.add.reduceat(sums, edges, axis=1),
        np.add.reduceat(squares, edges, axis=1),
        clipped_share,
    )


def _raise_not_finite(signal: NDArray[np.float32], start: int, named: str) -> None:
    row = int(np.argmax(~np.isfinite(signal).all(axis=0)))
    raise HarnetError(
        f"{named}: sample {start + row} is {signal[:, row].tolist()}: leave out such samples, a gap in time is kept as "
        "missing data"
    )
