"""What a recording must be before it enters a cohort: fast enough, long enough, finite and in g."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from data_shards.recording import Recording
from data_shards.resampling import hours_spanned, measured_rate, stretches
from harnet.errors import HarnetError

SLOWEST = 20.0
"""Hz. Below it the band of human movement, to about 10 Hz, is no longer there."""
FASTEST = 5000.0
"""Hz. Above it times come in bursts (stamped on arrival), and say nothing of when a sample was taken."""
LONGEST_DAYS = 100
"""A longer span comes from a clock that was reset, and would be stored as years of missing data."""
STILL_SHARE = 0.1
"""The stillest tenth of the seconds: there the norm is gravity, whatever the rest does."""
PLAUSIBLE_G = (0.5, 4.0)
"""Wide on purpose: devices out of calibration pass, and recordings of vigorous exercise with no still second."""
LOOKS_LIKE = (((6.5, 14.0), "m/s², not g: give --units m/s2"), ((600.0, 1600.0), "mg, not g: give --units mg"))
"""Norms of still seconds that give another unit away."""

_PIECE = 1 << 20


def check(recording: Recording, named: str, min_seconds: float) -> None:
    """Raise `HarnetError`, one line that begins with `named`, if the recording cannot be used.

    `min_seconds` is the length of the longest stretch without a gap that a recording must have.
    """
    times = recording.times
    if len(times) < 2:
        raise HarnetError(f"{named}: {len(times)} samples: nothing to ingest")
    assert all((np.diff(times[i : i + _PIECE + 1]) > 0).all() for i in range(0, len(times) - 1, _PIECE)), named
    _check_finite(recording, named)
    parts = stretches(times)
    for rate, origin in ((recording.nominal_rate, "set in the device"), (measured_rate(times, parts), "by its times")):
        if not SLOWEST <= rate <= FASTEST:
            raise HarnetError(
                f"{named}: {rate:.4g} Hz {origin}; {SLOWEST:g} to {FASTEST:g} Hz can be used: leave it out"
            )
    longest = max(times[stop - 1] - times[start] for start, stop in parts) + 1 / recording.nominal_rate
    if longest < min_seconds:
        raise HarnetError(
            f"{named}: its longest stretch without a gap is {longest:.1f} s, less than one window of {min_seconds:g} s "
            "(--min-seconds): leave it out"
        )
    hours = hours_spanned(times)[1]
    if hours > LONGEST_DAYS * 24:
        raise HarnetError(
            f"{named}: spans {hours / 24:.0f} days, more than {LONGEST_DAYS}; was the clock reset? Split it there"
        )
    _check_units(recording, named)


def _check_finite(recording: Recording, named: str) -> None:
    for start in range(0, len(recording.times), _PIECE):
        bad = ~np.isfinite(recording.acceleration[start : start + _PIECE]).all(axis=1)
        if bad.any():
            row = start + int(np.argmax(bad))
            raise HarnetError(
                f"{named}: sample {row} is {recording.acceleration[row].tolist()}: leave out such samples, a gap in "
                "time is kept as missing data"
            )


def _check_units(recording: Recording, named: str) -> None:
    norm = still_norm(recording)
    for (low, high), advice in LOOKS_LIKE:
        if low <= norm <= high:
            raise HarnetError(f"{named}: the norm is {norm:.4g} when still, so it is in {advice}")
    if not PLAUSIBLE_G[0] <= norm <= PLAUSIBLE_G[1]:
        raise HarnetError(
            f"{named}: the norm is {norm:.4g} g when still, where gravity alone gives 1: give the unit with --units "
            "(g, m/s2 or mg), or leave it out if gravity was removed"
        )


def still_norm(recording: Recording) -> float:
    """Mean norm in g over the stillest tenth of the seconds, by the summed variance of the axes."""
    variances, norms = (np.concatenate(values) for values in zip(*_seconds(recording), strict=True))
    count = max(1, int(STILL_SHARE * len(norms)))
    return float(norms[np.argpartition(variances, count - 1)[:count]].mean())


def _seconds(recording: Recording) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Variance (summed over axes) and mean norm of every second, a piece of the recording at a time."""
    for start in range(0, len(recording.times), _PIECE):
        signal = recording.acceleration[start : start + _PIECE].astype(np.float64)
        second = np.floor(recording.times[start : start + _PIECE])
        edges = np.concatenate([[0], np.flatnonzero(np.diff(second)) + 1])
        sizes = np.diff(np.concatenate([edges, [len(signal)]]))
        mean, square, norm = (
            np.add.reduceat(values, edges) / sizes.reshape(-1, *[1] * (values.ndim - 1))
            for values in (signal, signal**2, np.linalg.norm(signal, axis=1))
        )
        # A second with few samples looks still for want of samples.
        full = sizes >= max(1, min(recording.nominal_rate / 2, sizes.max()))
        yield (square - mean**2).sum(axis=1)[full], norm[full]
