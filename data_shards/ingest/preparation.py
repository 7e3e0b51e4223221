"""One recording, from device samples to what is stored: checked, calibrated, at 30 Hz, with wear and metadata."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import Preprocessing, Quality
from data_shards.cohort.stored import HourData
from data_shards.ingest.calibration import CALIBRATION, Correction, calibrate, correction, take_over
from data_shards.ingest.daylight import Clocks, clock_hours, in_words, wall_shifts
from data_shards.ingest.gathering import gather
from data_shards.ingest.known_devices import NOT_LISTED, NOT_TAKEN, TAKEN, KnownDevices, device_name
from data_shards.ingest.resampling import FILTER, hours_spanned, to_counts
from data_shards.ingest.scratch import GridRun, Scratch
from data_shards.ingest.wear import WEAR_RULE, Wear, WearDetector
from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.notes import Note
from data_shards.recording import Recording

PREPROCESSING = Preprocessing(
    rate=RATE, units="g", counts_per_g=COUNTS_PER_G, filter=FILTER, calibration=CALIBRATION, wear_rule=WEAR_RULE
)
"""Stored with every recording; signals of recordings that differ in it cannot be compared."""


@dataclass(frozen=True)
class Preparation:
    """Options of the preparation of recordings."""

    min_seconds: float = 10.0
    """Minimum length in seconds of a recording's longest gap-free stretch."""
    clocks: Clocks = field(default_factory=Clocks)
    """Clock options."""
    known_devices: KnownDevices | None = None
    """Calibrations for recordings that cannot be calibrated themselves."""


class PreparedRecording:
    """A recording ready to be stored: metadata first, its hours as a stream, and after these the remaining metadata."""

    def __init__(self, recording: Recording, named: str, how: Preparation, scratch: Scratch) -> None:
        """Check and resample a recording, and fit its calibration.

        Args:
            recording: Output of a reader; its chunks are read to the end.
            named: Prefix of error messages.
            how: Options.
            scratch: Buffers the signal until its hours are streamed.

        Raises:
            HarnetError: the recording cannot be used.
            OSError: the scratch file cannot be written.
        """
        gathered = gather(recording, named, how.min_seconds, scratch)
        temperature = recording.temperature()
        self.notes = recording.notes()
        """Notes of the reader and of the preparation."""
        self.calibration = calibrate(gathered.survey, temperature)
        """The calibration that is applied."""
        devices = how.known_devices
        known = None if devices is None else devices.of(recording.device, recording.metadata)
        if known is not None and not self.calibration["calibrated"]:
            self.calibration = take_over(self.calibration, known, gathered.survey, temperature)
            if self.calibration["calibrated"]:
                self.notes += (Note(TAKEN, 1, "from another recording of the device"),)
            else:
                self.notes += (Note(NOT_TAKEN, 1, self.calibration["reason"].rpartition("; ")[2]),)
        elif devices is not None and not self.calibration["calibrated"]:
            name = device_name(recording.device, recording.metadata)
            lacks = "the file states no serial number" if name is None else f"{devices.path} does not list {name}"
            self.calibration["reason"] += f"; {lacks}"
            self.notes += (Note(NOT_LISTED, 1, lacks),)
        self.first_hour, self.hours = hours_spanned(gathered.first, gathered.last)
        """First hour since 1970 on the recording's clock, and the number of hours."""
        clocks = how.clocks
        self.wall_shifts = wall_shifts(recording.clock, gathered.first, gathered.last, clocks, recording.utc_offset)
        """Shifts to the wall clock."""
        if clocks.place is not None:
            self.notes += in_words(self.wall_shifts, gathered.first, recording.clock, clocks.place, clocks.behind)
        self._gathered = gathered
        self._scratch = scratch
        self._correct = correction(self.calibration, temperature)
        self.worn_seconds_by_hour = [0] * self.hours
        """Complete once `stream` is exhausted, like the following attributes."""
        self.complete_seconds = 0
        """Seconds without a missing sample."""
        self._worn_by_clock_hour = np.zeros(24, np.int64)
        self._excess = 0.0

    def stream(self) -> Iterator[tuple[int, HourData]]:
        """Yield (index, data) of the hours with samples, counted from the first; can be iterated once."""
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
        """Quality measures; complete once `stream` is exhausted."""
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
    """Calibrated counts (3, 108,000) of a clock hour."""
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
        The mean in mg; 0 if nothing was worn.
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
