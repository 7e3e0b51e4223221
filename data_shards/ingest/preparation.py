"""One recording from device samples to what the store holds: checked, calibrated, at 30 Hz, with its wear and facts."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import Preprocessing, Quality
from data_shards.cohort.stored import HourData
from data_shards.ingest.calibration import CALIBRATION, Correction, calibrate, correction, take_over
from data_shards.ingest.daylight import Clocks, clock_hours, in_words, wall_shifts
from data_shards.ingest.gathering import gather
from data_shards.ingest.known_devices import TAKEN, KnownDevices
from data_shards.ingest.resampling import FILTER, hours_spanned, to_counts
from data_shards.ingest.scratch import GridRun, Scratch
from data_shards.ingest.wear import WEAR_RULE, Wear, WearDetector
from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.notes import Note
from data_shards.recording import Recording

PREPROCESSING = Preprocessing(
    rate=RATE, units="g", counts_per_g=COUNTS_PER_G, filter=FILTER, calibration=CALIBRATION, wear_rule=WEAR_RULE
)
"""Kept with every recording; a store whose recordings differ in it holds signals that cannot be compared."""


@dataclass(frozen=True)
class Preparation:
    """How recordings are prepared."""

    min_seconds: float = 10.0
    """Length of the longest stretch without a gap that a recording must have."""
    clocks: Clocks = field(default_factory=Clocks)
    """What is known of the clocks of device and wearer."""
    known_devices: KnownDevices | None = None
    """Calibrations for recordings that cannot be calibrated by themselves."""


class PreparedRecording:
    """A recording that can be stored: facts at once, its hours one by one, and when these are through, the rest."""

    def __init__(self, recording: Recording, named: str, how: Preparation, scratch: Scratch) -> None:
        """Check and resample a recording, and fit its calibration.

        Args:
            recording: What a reader returned; its pieces are read to the end.
            named: What an error begins with.
            how: What the user wants.
            scratch: Holds the signal until its hours are asked for.

        Raises:
            HarnetError: the recording cannot be used.
            OSError: the scratch file cannot be written.
        """
        gathered = gather(recording, named, how.min_seconds, scratch)
        temperature = recording.temperature()
        self.notes = recording.notes()
        """Of the reader, and of what was found here."""
        self.calibration = calibrate(gathered.survey, temperature)
        """As applied."""
        devices = how.known_devices
        known = None if devices is None else devices.of(recording.device, recording.metadata)
        if known is not None and not self.calibration["calibrated"]:
            self.calibration = take_over(self.calibration, known, gathered.survey, temperature)
            if self.calibration["calibrated"]:
                self.notes += (Note(TAKEN, 1, "from another recording of the device"),)
        self.first_hour, self.hours = hours_spanned(gathered.first, gathered.last)
        """Clock hour since 1970 at which the recording begins, and how many there are to its end."""
        clocks = how.clocks
        self.wall_shifts = wall_shifts(recording.clock, gathered.first, gathered.last, clocks, recording.utc_offset)
        """What the wall clock showed."""
        if clocks.place is not None:
            self.notes += in_words(self.wall_shifts, gathered.first, recording.clock, clocks.place)
        self._gathered = gathered
        self._scratch = scratch
        self._correct = correction(self.calibration, temperature)
        self.worn_seconds_by_hour = [0] * self.hours
        """Complete once `stream` is through, as are the following."""
        self.complete_seconds = 0
        """Seconds without a missing sample."""
        self._worn_by_clock_hour = np.zeros(24, np.int64)
        self._excess = 0.0

    def stream(self) -> Iterator[tuple[int, HourData]]:
        """Hours that hold a sample, counted from the first, each as it is stored; to be read once."""
        detector = WearDetector()
        waiting: list[NDArray[np.int16]] = []
        for hour, runs in self._scratch.hours():
            counts = counts_of(hour, runs, self._correct)
            known = detector.add(hour, counts)
            waiting.append(counts)
            if known is not None:
                yield self._take(known, waiting.pop(0))
        known = detector.finish()
        if known is not None:
            yield self._take(known, waiting.pop(0))

    def quality(self) -> Quality:
        """What a quality policy judges; complete once `stream` is through."""
        worn = sum(self.worn_seconds_by_hour)
        return Quality(
            clipped_share=self._gathered.clipped_share,
            interruptions=len(self._gathered.gaps),
            interrupted_seconds=round(float(self._gathered.gaps.sum()), 3),
            worn_seconds_by_clock_hour=self._worn_by_clock_hour.tolist(),
            mean_enmo_mg=_mean_mg(self._excess, worn),
        )

    def _take(self, known: tuple[int, Wear], counts: NDArray[np.int16]) -> tuple[int, HourData]:
        hour, worn = known
        seconds = hour * SECONDS_PER_HOUR + np.flatnonzero(worn.wear)
        self._worn_by_clock_hour += np.bincount(clock_hours(seconds, self.wall_shifts), minlength=24)
        self._excess += excess(counts, worn.wear)
        self.worn_seconds_by_hour[hour - self.first_hour] = len(seconds)
        self.complete_seconds += worn.complete_seconds
        return hour - self.first_hour, HourData(counts, worn.motion, worn.wear)


def counts_of(hour: int, runs: list[GridRun], correct: Correction | None) -> NDArray[np.int16]:
    """A clock hour, (3, 108,000), with what it holds calibrated."""
    counts = np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16)
    for start, values in runs:
        into = start - hour * SAMPLES_PER_HOUR
        if correct is not None:
            values = correct(np.arange(start, start + values.shape[1]) / RATE, values)
        counts[:, into : into + values.shape[1]] = to_counts(values)
    return counts


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
        hour = accel[:, start : start + SAMPLES_PER_HOUR]
        total += excess(hour, wear[start // RATE : start // RATE + SECONDS_PER_HOUR])
    return _mean_mg(total, int(wear.sum(dtype=int)))


def excess(accel: NDArray[np.int16], wear: NDArray[np.uint8]) -> float:
    """Sum of max(|a| - 1 g, 0) in counts over the worn samples of an hour, (3, 108,000) and (3600,)."""
    hour = accel.astype(np.float32)
    over = np.sqrt(np.einsum("an,an->n", hour, hour)) - COUNTS_PER_G
    return float(np.maximum(over, 0, dtype=np.float64)[np.repeat(wear, RATE).astype(bool)].sum())


def _mean_mg(total: float, worn_seconds: int) -> float:
    return total / COUNTS_PER_G * 1000 / (worn_seconds * RATE) if worn_seconds else 0.0
