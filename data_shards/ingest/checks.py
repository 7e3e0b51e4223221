"""What a recording must be before it enters a cohort: fast enough, long enough, finite and in g."""

from dataclasses import dataclass

import numpy as np

from data_shards.ingest.resampling import hours_spanned, measured_rate, stretches
from data_shards.ingest.survey import Survey, survey
from data_shards.recording import Loaded
from harnet.errors import HarnetError

SLOWEST = 19.0
"""Hz. Below it the band of human movement, to about 10 Hz, is no longer there."""
CLOCK_DRIFT = 0.01
"""Share by which a device's clock may be slow, and its rate below the one that it was set to."""
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


@dataclass(frozen=True)
class Checked:
    """A recording that passed, and what was learnt of it on the way."""

    recording: Loaded
    """All of it."""
    parts: list[tuple[int, int]]
    """`stretches(recording.times)`."""
    survey: Survey
    """Its samples, summed up by second."""


def check(recording: Loaded, named: str, min_seconds: float) -> Checked:
    """Go over a recording once.

    Args:
        recording: What a reader returned.
        named: What an error begins with.
        min_seconds: Length of the longest stretch without a gap that it must have.

    Raises:
        HarnetError: it cannot be used.
    """
    times = recording.times
    if len(times) < 2:
        raise HarnetError(f"{named}: {len(times)} samples: nothing to ingest")
    assert all((np.diff(times[i : i + _PIECE + 1]) > 0).all() for i in range(0, len(times) - 1, _PIECE)), named
    parts = stretches(times)
    for rate, origin in ((recording.nominal_rate, "set in the device"), (measured_rate(times, parts), "by its times")):
        if not SLOWEST * (1 - CLOCK_DRIFT) <= rate <= FASTEST:
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
    found = survey(recording, named)
    _check_units(found, recording.nominal_rate, named)
    return Checked(recording, parts, found)


def _check_units(found: Survey, nominal_rate: float, named: str) -> None:
    norm = still_norm(found, nominal_rate)
    for (low, high), advice in LOOKS_LIKE:
        if low <= norm <= high:
            raise HarnetError(f"{named}: the norm is {norm:.4g} when still, so it is in {advice}")
    if not PLAUSIBLE_G[0] <= norm <= PLAUSIBLE_G[1]:
        raise HarnetError(
            f"{named}: the norm is {norm:.4g} g when still, where gravity alone gives 1: give the unit with --units "
            "(g, m/s2 or mg), or leave it out if gravity was removed"
        )


def still_norm(found: Survey, nominal_rate: float) -> float:
    """Root mean square of the norm in g over the stillest tenth of the seconds, by the summed variance of the axes."""
    # A second with few samples looks still for want of samples.
    full = found.samples >= max(1, min(nominal_rate / 2, found.samples.max()))
    variances = found.variances.sum(axis=0)[full]
    norms = np.sqrt((found.squares.sum(axis=0) / found.samples)[full])
    count = max(1, int(STILL_SHARE * len(norms)))
    return float(norms[np.argpartition(variances, count - 1)[:count]].mean())
