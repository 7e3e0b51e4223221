"""One synthetic person -> one recording as stored: measured with the device's errors, then calibrated."""

import importlib.metadata

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import SYNTHETIC, Calibration, Preprocessing, Quality, RecordingInfo, SourceFile
from data_shards.cohort.store import HourData
from data_shards.ingest.calibration import calibrate, correction
from data_shards.ingest.daylight import clock_hours
from data_shards.ingest.preparation import PREPROCESSING, mean_enmo_mg
from data_shards.ingest.resampling import to_counts
from data_shards.ingest.survey import Survey
from data_shards.ingest.wear import detect
from data_shards.layout import COUNTS_PER_G, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.notes import Note
from data_shards.recording import Temperature
from data_shards.synthetic.diary import diary
from data_shards.synthetic.motion import course, measure
from data_shards.synthetic.people import SyntheticPerson
from data_shards.synthetic.synth_options import MORNING, SynthOptions

NOTE = "synthetic data, not recorded from people"
"""Printed, and stored with labels."""
VERSION = 2
"""Version of the generator: with another version, the same seed gives other people."""
MADE = Preprocessing(
    rate=RATE,
    units=PREPROCESSING["units"],
    counts_per_g=COUNTS_PER_G,
    filter=f"none (synthetic: made by formula, not a recording, version {VERSION}, at {RATE} Hz)",
    calibration=PREPROCESSING["calibration"],
    wear_rule=PREPROCESSING["wear_rule"],
)
"""Preprocessing of synthetic recordings; its wording is part of manifest digests. It is passed on from the store to
shards, runs and weights, and mixed shards are refused. So a model card states it too, and synthetic people cannot get
mixed with real ones unnoticed."""
MONDAY_HOUR = 473_352
"""Monday, 1 January 2024, 00:00, in hours since 1970."""
FULL_SCALE = 32767
"""Full scale in counts: ±8 g, the range of both device and store."""
THERMOMETER_SECONDS = 60
"""Seconds between temperature readings."""


def record(someone: SyntheticPerson, options: SynthOptions, number: int) -> tuple[RecordingInfo, HourData]:
    """The recording of a person; its draws are keyed by (seed, number)."""
    slowly = course(someone, options.seed, number, activities(someone, options, number))
    accel = measure(someone, options.seed, number, slowly)
    clipped = _clipped_share(accel)
    begin = first_hour(someone, options)
    seconds = begin * SECONDS_PER_HOUR + np.arange(len(slowly.celsius))
    readings = slice(None, None, THERMOMETER_SECONDS)
    temperature = Temperature(seconds[readings].astype(np.float64), slowly.celsius[readings])
    calibration = calibrate(_survey(accel, seconds), temperature)
    _apply(calibration, temperature, accel, int(seconds[0]))
    worn = detect(accel)
    quality = Quality(
        clipped_share=clipped,
        interruptions=0,
        interrupted_seconds=0.0,
        worn_seconds_by_clock_hour=np.bincount(clock_hours(seconds[worn.wear == 1], ()), minlength=24).tolist(),
        mean_enmo_mg=mean_enmo_mg(accel, worn.wear),
    )
    info = RecordingInfo(
        recording=someone.name,
        participant=someone.name,
        first_hour=begin,
        hours=len(slowly.celsius) // SECONDS_PER_HOUR,
        device=SYNTHETIC,
        clock="local",
        wall_shifts=(),
        nominal_rate=float(RATE),
        worn_seconds_by_hour=tuple(worn.wear.reshape(-1, SECONDS_PER_HOUR).sum(axis=1, dtype=int).tolist()),
        complete_seconds=worn.complete_seconds,
        calibration=calibration,
        quality=quality,
        notes=(Note(SYNTHETIC, 1, "not recorded from a person"),),
        metadata={"synthetic_seed": options.seed, "synthetic_person": number},
        source=source(options, number),
        preprocessing=MADE,
        package_version=importlib.metadata.version("harnet"),
    )
    return info, HourData(accel, worn.motion, worn.wear)


def activities(someone: SyntheticPerson, options: SynthOptions, number: int) -> NDArray[np.uint8]:
    """The person's activity in each second of the recording."""
    doing = diary(someone, options.seed, number, options.days if not options.hours else 1)
    if not options.hours:
        return doing
    return doing[MORNING * SECONDS_PER_HOUR :][: options.hours * SECONDS_PER_HOUR]


def first_hour(someone: SyntheticPerson, options: SynthOptions) -> int:
    """Start of a person's recording, in hours since 1970 on its clock."""
    return MONDAY_HOUR + 24 * someone.first_day + (MORNING if options.hours else 0)


def settings(options: SynthOptions) -> dict[str, str]:
    """Everything that determines the signal, besides the person's number."""
    length = {"hours": options.hours} if options.hours else {"days": options.days}
    return {name: str(value) for name, value in {"seed": options.seed, **length}.items()}


def source(options: SynthOptions, number: int) -> SourceFile:
    """Placeholder for the source file, which does not exist."""
    name = f"person {number} of the formula"
    return SourceFile(name=name, bytes=0, mtime_ns=0, xxh3="0" * 16, kind=SYNTHETIC, settings=settings(options))


def _clipped_share(accel: NDArray[np.int16]) -> float:
    """Share of samples with an axis at full scale, from (3, hours * 108,000) counts."""
    clipped = 0
    for start in range(0, accel.shape[1], SAMPLES_PER_HOUR):
        hour = accel[:, start : start + SAMPLES_PER_HOUR]
        if hour.max() == FULL_SCALE or hour.min() == -FULL_SCALE:  # rarely true, so the rest is rarely computed
            clipped += int((np.abs(hour) == FULL_SCALE).any(axis=0).sum())
    return clipped / accel.shape[1]


def _survey(accel: NDArray[np.int16], seconds: NDArray[np.int64]) -> Survey:
    """Sums per second, as ingest computes them from device samples."""
    sums, squares = np.empty((2, 3, len(seconds)))
    for start in range(0, len(seconds), SECONDS_PER_HOUR):
        hour = slice(start, start + SECONDS_PER_HOUR)
        counts = accel[:, start * RATE : (start + SECONDS_PER_HOUR) * RATE].reshape(3, -1, RATE).astype(np.float64)
        sums[:, hour] = np.einsum("ask->as", counts) / COUNTS_PER_G
        squares[:, hour] = np.einsum("ask,ask->as", counts, counts) / COUNTS_PER_G**2
    return Survey(seconds, np.ones_like(seconds), np.full(len(seconds), RATE), sums, squares)


def _apply(calibration: Calibration, temperature: Temperature, accel: NDArray[np.int16], begin: int) -> None:
    """Calibrate counts in place, an hour at a time; `begin` is the time of the first one in seconds."""
    correct = correction(calibration, temperature)
    if correct is None:
        return
    for start in range(0, accel.shape[1], SAMPLES_PER_HOUR):
        hour = slice(start, start + SAMPLES_PER_HOUR)
        times = begin + np.arange(start, start + SAMPLES_PER_HOUR) / RATE
        accel[:, hour] = to_counts(correct(times, accel[:, hour].astype(np.float32) / np.float32(COUNTS_PER_G)))
