"""Statistics of a device's samples in one pass: sums from which stillness, units and calibration are derived."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_shards.recording import SampleChunk
from harnet.errors import HarnetError

CLIP_TOLERANCE = 0.004
"""Tolerance as a fraction of full scale: 8 g in two's complement ends at +7.996 (10 bits), and scaled codes round."""
WINDOW_SECONDS = 10
"""Length in seconds of the windows over which sums are kept, in which calibration looks for stillness (van Hees et al.
2014); per second, a year would take 2 GB."""


@dataclass(frozen=True)
class Survey:
    """Statistics per clock second, or per clock-aligned window, that contains a sample."""

    seconds: NDArray[np.int64]
    """(m,) first second of each window, since 1970, strictly increasing."""
    recorded: NDArray[np.int64]
    """(m,) number of seconds with samples in the window."""
    samples: NDArray[np.int64]
    """(m,) number of samples in the window."""
    sums: NDArray[np.float64]
    """(3, m) sums in g."""
    squares: NDArray[np.float64]
    """(3, m) sums of squares in g²."""

    def windows(self, length: int) -> "Survey":
        """The same per clock-aligned window of `length` seconds."""
        first = self.seconds // length * length
        edges = _edges(first)
        return Survey(first[edges], *(np.add.reduceat(values, edges, axis=-1) for values in _arrays(self)[1:]))

    @property
    def means(self) -> NDArray[np.float64]:
        """(3, m) in g."""
        return self.sums / self.samples

    @property
    def variances(self) -> NDArray[np.float64]:
        """(3, m) in g², population variance; never below 0."""
        variances: NDArray[np.float64] = np.maximum(self.squares / self.samples - self.means**2, 0)
        return variances


class Surveyor:
    """Collects the statistics of a recording chunk by chunk."""

    def __init__(self, named: str, range_g: float | None) -> None:
        """`named` prefixes error messages; `range_g` is the device's full scale in g, None if unknown."""
        self.samples = 0
        """Number of samples so far."""
        self.clipped = 0
        """Number of samples with an axis at full scale."""
        self._named = named
        self._limit = None if range_g is None else np.float32(range_g * (1 - CLIP_TOLERANCE))
        self._parts: list[Survey] = []
        self._windows: list[Survey] = []

    def add(self, piece: SampleChunk) -> None:
        """Add samples; `HarnetError` if one is not finite."""
        signal = np.ascontiguousarray(piece.acceleration.T)
        if self._limit is not None:
            self.clipped += int((np.abs(signal) >= self._limit).any(axis=0).sum())
        second = np.floor(piece.times).astype(np.int64)
        edges = _edges(second)
        double = signal.astype(np.float64)
        sums = np.add.reduceat(double, edges, axis=1)
        if not np.isfinite(sums).all():
            self._raise_not_finite(signal)
        np.square(double, out=double)
        squares = np.add.reduceat(double, edges, axis=1)
        samples = np.diff(edges, append=len(second))
        self._parts.append(Survey(second[edges], np.ones_like(samples), samples, sums, squares))
        self.samples += len(second)

    @property
    def clipped_share(self) -> float:
        """Fraction of samples with an axis at full scale; 0 if the range is unknown."""
        return self.clipped / self.samples

    def seconds(self) -> Survey:
        """Statistics per second, of what was added since the last `make_windows`."""
        found = _joined(self._parts).windows(1)
        return replace(found, recorded=np.ones_like(found.samples))  # a piece may end within a second

    def make_windows(self, last: bool = False) -> None:
        """Aggregate complete windows, which saves memory; with `last`, the incomplete one too."""
        found = self.seconds()
        begun = found.seconds[-1] // WINDOW_SECONDS * WINDOW_SECONDS
        whole = len(found.seconds) if last else int(np.searchsorted(found.seconds, begun))
        if whole:
            self._windows.append(_part(found, slice(None, whole)).windows(WINDOW_SECONDS))
        self._parts = [_part(found, slice(whole, None))]

    def finish(self) -> Survey:
        """Statistics of the whole recording per window."""
        self.make_windows(last=True)
        return _joined(self._windows)

    def _raise_not_finite(self, signal: NDArray[np.float32]) -> None:
        row = int(np.argmax(~np.isfinite(signal).all(axis=0)))
        raise HarnetError(
            f"{self._named}: sample {self.samples + row} is {signal[:, row].tolist()}: remove such samples; a gap in "
            "time is kept as missing data"
        )


def _joined(parts: list[Survey]) -> Survey:
    return Survey(*(np.concatenate(values, axis=-1) for values in zip(*map(_arrays, parts), strict=True)))


def _part(found: Survey, part: slice) -> Survey:
    return Survey(*(values[..., part] for values in _arrays(found)))


def _arrays(found: Survey) -> tuple[NDArray[Any], ...]:
    return found.seconds, found.recorded, found.samples, found.sums, found.squares


def _edges(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index at which each run of equal values starts."""
    return np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
