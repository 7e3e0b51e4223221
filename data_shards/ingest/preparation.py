"""One recording from device samples to what the store holds: checked, calibrated, at 30 Hz, with its wear and facts."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import Calibration, Preprocessing, Quality, WallShift
from data_shards.ingest.calibration import CALIBRATION, calibrate, correction
from data_shards.ingest.checks import Checked, check
from data_shards.ingest.daylight import clock_hours, in_words, wall_shifts
from data_shards.ingest.resampling import FILTER, resample
from data_shards.ingest.wear import WEAR_RULE, Wear, detect
from data_shards.layout import COUNTS_PER_G, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.notes import Note
from data_shards.recording import Recording

PREPROCESSING = Preprocessing(
    rate=RATE, units="g", counts_per_g=COUNTS_PER_G, filter=FILTER, calibration=CALIBRATION, wear_rule=WEAR_RULE
)
"""Kept with every recording; a store whose recordings differ in it holds signals that cannot be compared."""


@dataclass(frozen=True)
class Prepared:
    """A recording as it is stored, but for its name and origin."""

    first_hour: int
    """Clock hour since 1970 at which the arrays begin."""
    accel: NDArray[np.int16]
    """(3, hours * 108,000) in 1/4096 g."""
    worn: Wear
    """Motion and wear by second."""
    calibration: Calibration
    """As applied."""
    quality: Quality
    """What a quality policy judges."""
    wall_shifts: tuple[WallShift, ...]
    """What the wall clock showed."""
    notes: tuple[Note, ...]
    """Of the reader, and of daylight saving."""


def prepare(recording: Recording, named: str, min_seconds: float, place: ZoneInfo | None) -> Prepared:
    """Check, calibrate and resample a recording, and measure what is kept with it.

    Args:
        recording: What a reader returned.
        named: What an error begins with.
        min_seconds: Length of the longest stretch without a gap that it must have.
        place: Time zone of the wearer, where it is known.

    Raises:
        HarnetError: the recording cannot be used.
    """
    loaded = recording.load()
    checked = check(loaded, named, min_seconds)
    calibration = calibrate(checked.survey, loaded.temperature)
    first_hour, accel = resample(
        loaded.times, loaded.acceleration, checked.parts, correction(calibration, loaded.temperature)
    )
    worn = detect(accel)
    shifts: tuple[WallShift, ...] = ()
    notes = loaded.notes
    if place is not None:
        shifts = wall_shifts(recording.clock, loaded.times[0], loaded.times[-1], place)
        notes += in_words(shifts, recording.clock, place)
    quality = _quality(checked, accel, worn, first_hour, shifts)
    return Prepared(first_hour, accel, worn, calibration, quality, shifts, notes)


def _quality(
    checked: Checked, accel: NDArray[np.int16], worn: Wear, first_hour: int, shifts: tuple[WallShift, ...]
) -> Quality:
    ends = np.array(checked.parts)
    times = checked.recording.times
    gaps = times[ends[1:, 0]] - times[ends[:-1, 1] - 1]
    seconds = first_hour * SECONDS_PER_HOUR + np.flatnonzero(worn.wear)
    return Quality(
        clipped_share=checked.survey.clipped_share,
        interruptions=len(gaps),
        interrupted_seconds=round(float(gaps.sum()), 3),
        worn_seconds_by_clock_hour=np.bincount(clock_hours(seconds, shifts), minlength=24).tolist(),
        mean_enmo_mg=mean_enmo_mg(accel, worn.wear),
    )


def mean_enmo_mg(accel: NDArray[np.int16], wear: NDArray[np.uint8]) -> float:
    """Mean of max(|a| - 1 g, 0) in mg over worn seconds (ENMO; van Hees et al. 2013, PLoS ONE 8(4):e61691).

    Args:
        accel: (3, hours * 108,000) in 1/4096 g.
        wear: (hours * 3600,) 1 where worn, which implies that no sample is missing.

    Returns:
        0 where nothing was worn.
    """
    total = 0.0
    for start in range(0, accel.shape[1], SAMPLES_PER_HOUR):
        hour = accel[:, start : start + SAMPLES_PER_HOUR].astype(np.float32)
        worn = np.repeat(wear[start // RATE : start // RATE + SECONDS_PER_HOUR], RATE).astype(bool)
        excess = np.sqrt(np.einsum("an,an->n", hour, hour)) - COUNTS_PER_G
        total += float(np.maximum(excess, 0, dtype=np.float64)[worn].sum())
    samples = int(wear.sum(dtype=int)) * RATE
    return total / COUNTS_PER_G * 1000 / samples if samples else 0.0
