"""Cutting labelled signals at a device's sampling rate into windows at 30 Hz, in the same way for every data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import resample_poly

from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.encoder import SAMPLING_RATE
from harnet.errors import HarnetError

STANDARD_GRAVITY = 9.80665
"""m/s² in 1 g."""
UNLABELLED = -1
MOST_UNLABELLED = 0.5
"""Maximum unlabelled fraction of a window; Yuan et al. 2024 keep PAMAP2 windows that are up to half unlabelled."""
MOST_MISSING = 0.1
"""Maximum fraction of a window's samples that may be missing; they are interpolated. Our choice."""
_CHUNK = 4096


@dataclass(frozen=True)
class WindowCutting:
    """How windows are cut; the default is as published (Yuan et al. 2024)."""

    seconds: int = 10
    """Window length in seconds: 5, 10 or 30, for harnet5, harnet10 or harnet30."""
    overlap: bool = True
    """Whether consecutive windows overlap by half; otherwise they do not overlap."""

    def __post_init__(self) -> None:
        if self.seconds not in (5, 10, 30):
            raise HarnetError(f"seconds {self.seconds}: must be 5, 10 or 30, the window lengths of the encoders")


@dataclass
class Windows:
    """Collects the windows of a data set, one stretch of signal at a time."""

    cutting: WindowCutting
    """Window length and overlap."""
    classes: Sequence[str]
    """Names of the classes; `add` takes indices into it."""
    _windows: list[NDArray[np.float32]] = field(default_factory=list)
    _labels: list[NDArray[np.str_]] = field(default_factory=list)
    _people: list[str] = field(default_factory=list)
    _seconds: float = 0.0

    def add(self, person: str, signal: NDArray[np.floating], labels: NDArray[np.integer] | int, rate: int) -> int:
        """Cut one stretch of signal without gaps in time; returns the number of windows.

        `signal` is (n, 3) in g at `rate` Hz, NaN where a sample is missing; `labels` are (n,) class indices or
        `UNLABELLED`, or a single one for all samples. A window gets its most frequent label.
        """
        length = self.cutting.seconds * rate
        step = length // 2 if self.cutting.overlap else length
        if len(signal) < length:
            return 0
        labels = np.broadcast_to(np.asarray(labels), (len(signal),))
        votes = sliding_window_view(labels, length)[::step]
        shares = np.stack([(votes == index).mean(axis=1) for index in range(len(self.classes))], axis=1)
        missing = sliding_window_view(~np.isfinite(signal).all(axis=1), length)[::step].mean(axis=1)
        good = (1 - shares.sum(axis=1) <= MOST_UNLABELLED + 1e-9) & (missing <= MOST_MISSING)
        starts = np.flatnonzero(good)
        if not len(starts):
            return 0
        filled = _filled(signal)
        views = sliding_window_view(filled, length, axis=0)[::step]
        for begin in range(0, len(starts), _CHUNK):
            self._windows.append(_at_30_hz(views[starts[begin : begin + _CHUNK]], rate))
        self._labels.append(np.array(self.classes, dtype=np.str_)[shares[starts].argmax(axis=1)])
        self._people += [person] * len(starts)
        # Overlapping seconds count once.
        self._seconds += (length + np.minimum(np.diff(starts) * step, length).sum()) / rate
        return len(starts)

    def finish(self, where: str, expected: str, notes: Sequence[str] = ()) -> ParsedDataset:
        """All windows; HarnetError, prefixed with `where` and stating what was `expected`, if there are none."""
        if not self._windows:
            raise HarnetError(f"{where}: contains no window of {self.cutting.seconds} s; expected {expected}")
        windows, labels = np.concatenate(self._windows), np.concatenate(self._labels)
        return ParsedDataset(windows, labels, np.array(self._people, dtype=np.str_), float(self._seconds), tuple(notes))


def stretches(times: NDArray[np.floating], longest_gap: float) -> list[slice]:
    """Split `times` (n,) in seconds wherever it jumps by more than `longest_gap` or runs backwards; returns slices."""
    steps = np.diff(times)
    cuts = np.flatnonzero(~((steps >= 0) & (steps <= longest_gap))) + 1
    edges = [0, *cuts.tolist(), len(times)]
    return [slice(a, b) for a, b in pairwise(edges)]


def on_a_grid(times: NDArray[np.floating], signal: NDArray[np.floating], rate: int) -> NDArray[np.floating]:
    """Linearly interpolate `signal` (n, 3) at irregular `times` (n,) in seconds to `rate` Hz, from the first time."""
    count = int((times[-1] - times[0]) * rate) + 1
    grid = times[0] + np.arange(count) / rate
    return np.stack([np.interp(grid, times, axis) for axis in signal.T], axis=1)


def _at_30_hz(windows: NDArray[np.floating], rate: int) -> NDArray[np.float32]:
    """Resample windows (N, 3, n) at `rate` Hz to (N, 3, L) at 30 Hz with an anti-aliasing polyphase FIR filter."""
    ratio = Fraction(SAMPLING_RATE, rate)
    if ratio == 1:
        return np.ascontiguousarray(windows, dtype=np.float32)
    # Padded with a line through the end points: with zeros, gravity would cause ringing at both ends of every window.
    done = resample_poly(windows, ratio.numerator, ratio.denominator, axis=2, padtype="line")
    return np.ascontiguousarray(done, dtype=np.float32)


def _filled(signal: NDArray[np.floating]) -> NDArray[np.floating]:
    good = np.isfinite(signal).all(axis=1)
    if good.all():
        return signal
    index = np.arange(len(signal))
    return np.stack([np.interp(index, index[good], axis[good]) for axis in signal.T], axis=1)
