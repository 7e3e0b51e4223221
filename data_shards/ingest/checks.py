"""Requirements for a recording to enter a cohort: sampling rate, length and units."""

import numpy as np

from data_shards.ingest.resampling import hours_spanned
from data_shards.ingest.survey import Survey
from harnet.errors import HarnetError

SLOWEST = 19.0
"""Minimum sampling rate in Hz: below it the band of human movement, up to about 10 Hz, is not covered."""
CLOCK_DRIFT = 0.01
"""Tolerated relative deviation of the measured sampling rate below the configured one, due to a slow clock."""
FASTEST = 5000.0
"""Maximum sampling rate in Hz: above it times come in bursts (stamped on arrival) and are not sampling times."""
LONGEST_DAYS = 731
"""Maximum span in days, two years: a longer one comes from a clock that was reset."""
STILL_SHARE = 0.1
"""Share of the seconds, the stillest ones, in which the norm is taken to be gravity."""
PLAUSIBLE_G = (0.5, 4.0)
"""Plausible norm in g, deliberately wide: uncalibrated devices and vigorous exercise without a still second pass."""
LOOKS_LIKE = (((6.5, 14.0), "m/s², not g: give --units m/s2"), ((600.0, 1600.0), "mg, not g: give --units mg"))
"""Norms of still seconds that reveal another unit."""


class TooShort(HarnetError):
    """A valid recording without a gap-free stretch as long as a window; a cohort may have hundreds of them."""


def refuse_rate(nominal: float, measured: float, named: str) -> None:
    """Raise `HarnetError`, prefixed with `named`, for sampling rates in Hz that cannot be resampled to 30 Hz."""
    for rate, origin in ((nominal, "nominal"), (measured, "by its times")):
        if not SLOWEST * (1 - CLOCK_DRIFT) <= rate <= FASTEST:
            raise HarnetError(
                f"{named}: {rate:.4g} Hz {origin}; {SLOWEST:g} to {FASTEST:g} Hz can be used: exclude it, unless the "
                "times are not in the unit that their column's name states (seconds by default)"
            )


def refuse_span(first: float, last: float, named: str) -> None:
    """Raise `HarnetError` if the first and last time, in seconds, are years apart."""
    hours = hours_spanned(first, last)[1]
    if hours > LONGEST_DAYS * 24:
        raise HarnetError(
            f"{named}: spans {hours / 24:.0f} days, more than {LONGEST_DAYS}; was the clock reset? Split it there"
        )


def refuse_short(longest: float, min_seconds: float, named: str) -> None:
    """Raise `TooShort` if the longest gap-free stretch, in seconds, is shorter than a window."""
    if longest < min_seconds:
        raise TooShort(
            f"{named}: its longest gap-free stretch is {longest:.1f} s, less than one window of {min_seconds:g} s "
            "(--min-seconds): exclude it"
        )


def refuse_units(found: Survey, nominal_rate: float, named: str) -> None:
    """Raise `HarnetError` if gravity is not about 1 g in the stillest seconds."""
    norm = still_norm(found, nominal_rate)
    for (low, high), advice in LOOKS_LIKE:
        if low <= norm <= high:
            raise HarnetError(f"{named}: the norm is {norm:.4g} when still, so it is in {advice}")
    if not PLAUSIBLE_G[0] <= norm <= PLAUSIBLE_G[1]:
        raise HarnetError(
            f"{named}: the norm is {norm:.4g} g when still, but gravity alone gives 1: pass the unit with --units "
            "(g, m/s2 or mg), divide raw counts by the counts per g, or exclude it if gravity was removed"
        )


def still_norm(found: Survey, nominal_rate: float) -> float:
    """Root mean square of the norm in g over the stillest tenth of the seconds, by the summed variance of the axes."""
    # A second with few samples only appears still.
    full = found.samples >= max(1, min(nominal_rate / 2, found.samples.max()))
    variances = found.variances.sum(axis=0)[full]
    norms = np.sqrt((found.squares.sum(axis=0) / found.samples)[full])
    count = max(1, int(STILL_SHARE * len(norms)))
    return float(norms[np.argpartition(variances, count - 1)[:count]].mean())
