"""Resampling irregular device times to the regular 30 Hz grid, without aliasing and without filling gaps.

Per gap-free stretch: a zero-phase low-pass filter at the device's sampling rate (first raised by an integer factor if
it is below 100 Hz), then a cubic spline over the device's own times. The times matter: an Axivity AX3 set to 100 Hz
was observed to run at 98.9 Hz. Data are processed in pieces of ten minutes that overlap by the filter's length, so
memory does not grow with the recording. Calibration is applied afterwards: it is affine, and the filter and the spline
are linear and preserve constants, so the result is the same, with a third of the work at 100 Hz.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.signal import firwin, kaiserord, oaconvolve

from data_shards.layout import COUNTS_PER_G, RATE, SAMPLES_PER_HOUR
from data_shards.recording import SampleChunk

STOPBAND_DECIBEL = 80.0
"""Stop-band attenuation; Kaiser window design (Kaiser 1974; scipy.signal.kaiserord). One count is -90 dB of ±8 g."""
INTERNAL_RATE = 100.0
"""Minimum rate in Hz at the spline: at 100 Hz its error at 12 Hz is about (12 / 88)^4, below 0.04 %."""
SPLINE_MARGIN = 16
"""Samples after which the cubic spline's memory, 0.268 a sample (Unser 1999, table 1), is below 1e-9."""
PIECE_SAMPLES = 600 * RATE
"""Output samples per piece: ten minutes."""
SLACK = 1e-3
"""Tolerance for rounded times, in output samples: doubles since 1970 resolve 0.24 µs."""

GAP_PERIODS = 2.5
"""Gap threshold in sampling periods: one lost sample (a jump of two periods, with jitter) is bridged, two are a gap."""
GAP_SECONDS = 2 / RATE
"""Minimum gap threshold in seconds: two output samples, however fast the device, since the passband ends at 15 Hz."""

FILTER = (
    "zero-phase Kaiser FIR low-pass, -80 dB from s = min(15 Hz, half the device's rate), passband to 0.8 s; "
    "cubic spline at the device's times; gaps above max(2.5 periods, 1/15 s) left missing; "
    "rate of the first 2^24 samples"
)
"""Stored with every recording. Change it whenever the results change."""


@dataclass(frozen=True)
class LowPass:
    """A low-pass filter for one device sampling rate."""

    taps: NDArray[np.float32]
    """Symmetric impulse response, odd length, at `factor` times the device's rate."""
    factor: int
    """Integer factor by which the device's rate is raised before the spline."""

    @property
    def margin(self) -> int:
        """Number of device samples on either side that an output sample depends on."""
        return len(self.taps) // (2 * self.factor) + SPLINE_MARGIN


@lru_cache(maxsize=8)
def low_pass(rate: float) -> LowPass:
    """The filter for a device rate in Hz: passband to 0.8 s and stopband from s = min(15, rate / 2)."""
    factor = max(1, int(np.ceil(INTERNAL_RATE / rate * (1 - 0.02))))
    stop = min(RATE / 2, rate / 2)
    width = 0.2 * stop
    length, beta = kaiserord(STOPBAND_DECIBEL, width / (0.5 * rate * factor))
    taps = firwin(length | 1, stop - width / 2, window=("kaiser", beta), fs=rate * factor)
    for phase in range(factor):
        # Each polyphase component must sum to one, or gravity would ripple at the device's rate.
        taps[phase::factor] /= taps[phase::factor].sum()
    return LowPass(taps.astype(np.float32), factor)


def gap_threshold(times: NDArray[np.float64]) -> float:
    """Gap threshold: seconds between two samples above which nothing is interpolated."""
    step = 1 << 20
    periods = [np.median(np.diff(times[start : start + step])) for start in range(0, len(times) - 1, step)]
    return max(GAP_PERIODS * float(np.median(periods)), GAP_SECONDS)


def stretches(times: NDArray[np.float64], threshold: float) -> list[tuple[int, int]]:
    """(start, stop) sample indices of the gap-free stretches, in order, covering all samples."""
    step = 1 << 22
    # In pieces: the differences of a week at 100 Hz are half a gigabyte.
    jumps = [start + np.flatnonzero(np.diff(times[start : start + step + 1]) > threshold) + 1
             for start in range(0, len(times) - 1, step)]  # fmt: skip
    edges = [0, *map(int, np.concatenate(jumps)), len(times)]
    return list(pairwise(edges))


def measured_rate(times: NDArray[np.float64], parts: list[tuple[int, int]]) -> float:
    """Sampling rate in Hz by the device's clock, excluding gaps."""
    seconds = sum(times[stop - 1] - times[start] for start, stop in parts)
    return float((len(times) - len(parts)) / seconds) if seconds > 0 else 0.0


def hours_spanned(first: float, last: float) -> tuple[int, int]:
    """First hour since 1970 and number of hours that cover the times from `first` to `last` in seconds."""
    begin, end = (k // SAMPLES_PER_HOUR for k in _grid(first, last))
    return begin, end - begin + 1


class Resampler:
    """Takes chunks of a recording in order and emits each ten minutes at 30 Hz as soon as they are final."""

    def __init__(self, rate: float, threshold: float, sink: Callable[[int, NDArray[np.float32]], None]) -> None:
        """Begin.

        Args:
            rate: Sampling rate in Hz by the device's clock.
            threshold: Gap threshold in seconds.
            sink: Receives the index of a run's first sample, counted from 1970 at 30 Hz, and its values (3, n) in g.
        """
        self.gaps: list[float] = []
        """Lengths in seconds of the gaps."""
        self.longest = 0.0
        """Seconds from the first to the last sample of the longest gap-free stretch."""
        # Rates differ slightly between stretches; a rounded common rate lets all share one filter.
        self._low = low_pass(round(rate, 1))
        self._threshold = threshold
        self._sink = sink
        self._held: list[SampleChunk] = []
        """The end of this stretch, on which the following output depends."""
        self._begun = 0.0
        """Time of the first sample of this stretch."""
        self._count = 0
        """Samples of this stretch so far."""
        self._next = 0
        """Index of the next 30 Hz sample of this stretch."""

    def add(self, piece: SampleChunk) -> None:
        """Add the next samples."""
        times, acceleration = piece
        before = self._held[-1].times[-1] if self._held else times[0]
        steps = np.diff(times, prepend=before)
        edges = [0, *map(int, np.flatnonzero(steps > self._threshold)), len(times)]
        for part, (start, stop) in enumerate(pairwise(edges)):
            if part:
                self.gaps.append(float(steps[start]))
                self._end()
            if stop > start:
                self._extend(SampleChunk(times[start:stop], acceleration[start:stop]))

    def finish(self) -> None:
        """Emit the remaining output."""
        self._end()

    def _extend(self, piece: SampleChunk) -> None:
        if not self._count:
            self._begun = float(piece.times[0])
            self._next = _grid(self._begun, self._begun)[0]
        self._count += len(piece.times)
        self._held.append(piece)
        while piece.times[-1] > (last := (self._next + PIECE_SAMPLES - 1) / RATE):
            held = self._join()
            if len(held.times) < np.searchsorted(held.times, last) + self._low.margin + 1:
                break
            self._give(self._next + PIECE_SAMPLES)
            needed = int(np.searchsorted(held.times, self._next / RATE)) - self._low.margin - 1
            if needed > 0:
                self._held = [SampleChunk(held.times[needed:], held.acceleration[needed:])]

    def _end(self) -> None:
        """End the current stretch."""
        if self._count >= 2:
            last = float(self._join().times[-1])
            self.longest = max(self.longest, last - self._begun)
            stop = _grid(last, last)[1] + 1
            while self._next < stop:
                self._give(min(self._next + PIECE_SAMPLES, stop))
        self._held, self._count = [], 0

    def _give(self, stop: int) -> None:
        grid = np.arange(self._next, stop)
        self._sink(self._next, _evaluate(self._low, *self._join(), grid / RATE))
        self._next = stop

    def _join(self) -> SampleChunk:
        if len(self._held) > 1:
            self._held = [SampleChunk(*(np.concatenate(values) for values in zip(*self._held, strict=True)))]
        return self._held[0]


def to_counts(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Acceleration in g → int16 in 1/4096 g, clipped to ±32767 (±8 g)."""
    return np.clip(np.rint(values * COUNTS_PER_G), -32767, 32767).astype(np.int16)


def _grid(start: float, stop: float) -> tuple[int, int]:
    """First and last k with start <= k / 30 <= stop; the last is below the first if there is none."""
    return int(np.ceil(start * RATE - SLACK)), int(np.floor(stop * RATE + SLACK))


def _evaluate(
    low: LowPass, times: NDArray[np.float64], acceleration: NDArray[np.float32], at: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The filtered signal of one stretch, (3, len(at)) in g, at the times `at` in seconds."""
    margin, factor = low.margin, low.factor
    begin = max(int(np.searchsorted(times, at[0])) - margin - 1, 0)
    end = int(np.searchsorted(times, at[-1])) + margin + 1
    times, signal = times[begin:end], acceleration[begin:end].T
    # Mirrored rather than zero-padded: both ends of a stretch contain gravity, and a step to zero would cause ringing.
    padded = np.pad(signal, ((0, 0), (margin, margin)), mode="reflect")
    raised = np.zeros((3, padded.shape[1] * factor), np.float32)
    raised[:, ::factor] = padded
    filtered = oaconvolve(raised, low.taps[None], mode="same", axes=1)
    position = (np.interp(at, times, np.arange(len(times))) + margin) * factor
    return np.stack([map_coordinates(axis, position[None], np.float32, order=3, mode="mirror") for axis in filtered])
