"""What a recording must be before it enters a cohort: fast enough, long enough and in g."""

import numpy as np

from data_shards.ingest.resampling import hours_spanned
from data_shards.ingest.survey import Survey
from harnet.errors import HarnetError

SLOWEST = 19.0
"""Hz. Below it the band of human movement, to about 10 Hz, is no longer there."""
CLOCK_DRIFT = 0.01
"""Share by which a device's clock may be slow, and its rate below the one that it was set to."""
FASTEST = 5000.0
"""Hz. Above it times come in bursts (stamped on arrival), and say nothing of when a sample was taken."""
LONGEST_DAYS = 731
"""Two years. A longer span comes from a clock that was reset."""
STILL_SHARE = 0.1
"""The stillest tenth of the seconds: there the norm is gravity, whatever the rest does."""
PLAUSIBLE_G = (0.5, 4.0)
"""Wide on purpose: devices out of calibration pass, and recordings of vigorous exercise with no still second."""
LOOKS_LIKE = (((6.5, 14.0), "m/s², not g: give --units m/s2"), ((600.0, 1600.0), "mg, not g: give --units mg"))
"""Norms of still seconds that give another unit away."""


class TooShort(HarnetError):
    """A sound recording without a stretch as long as a window; there may be hundreds, which is no fault of any."""


def refuse_rate(nominal: float, measured: float, named: str) -> None:
    """Raises `HarnetError`, which begins with `named`, for rates in Hz from which no 30 Hz can be made."""
    for rate, origin in ((nominal, "nominal"), (measured, "by its times")):
        if not SLOWEST * (1 - CLOCK_DRIFT) <= rate <= FASTEST:
            raise HarnetError(
                f"{named}: {rate:.4g} Hz {origin}; {SLOWEST:g} to {FASTEST:g} Hz can be used: leave it out"
            )


def refuse_span(first: float, last: float, named: str) -> None:
    """Raises `HarnetError` for times, in seconds, that are years apart."""
    hours = hours_spanned(first, last)[1]
    if hours > LONGEST_DAYS * 24:
        raise HarnetError(
            f"{named}: spans {hours / 24:.0f} days, more than {LONGEST_DAYS}; was the clock reset? Split it there"
        )


def refuse_short(longest: float, min_seconds: float, named: str) -> None:
    """Raises `TooShort` where the longest stretch without a gap, in seconds, holds no window."""
    if longest < min_seconds:
        raise TooShort(
            f"{named}: its longest stretch without a gap is {longest:.1f} s, less than one window of {min_seconds:g} s "
            "(--min-seconds): leave it out"
        )


def refuse_units(found: Survey, nominal_rate: float, named: str) -> None:
    """Raises `HarnetError` where gravity is not 1 g, going by seconds."""
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
