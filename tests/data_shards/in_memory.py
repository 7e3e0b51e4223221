"""The stages of ingest, applied to arrays that fit into memory."""

import numpy as np
from numpy.typing import NDArray

from data_shards.ingest.calibration import Correction
from data_shards.ingest.gathering import even, gather
from data_shards.ingest.preparation import Preparation, PreparedRecording, counts_of
from data_shards.ingest.resampling import Resampler, gap_threshold, hours_spanned, measured_rate, stretches
from data_shards.ingest.scratch import Scratch
from data_shards.ingest.survey import Survey, Surveyor
from data_shards.layout import MISSING, SAMPLES_PER_HOUR
from data_shards.recording import Loaded, SampleChunk


def check(recording: Loaded, named: str, min_seconds: float) -> None:
    """Check whether a recording is usable."""
    with Scratch() as scratch:
        gather(recording.stream(), named, min_seconds, scratch)


def resample(
    times: NDArray[np.float64],
    acceleration: NDArray[np.float32],
    correct: Correction | None = None,
    piece: int = 1 << 18,
) -> tuple[int, NDArray[np.int16]]:
    """Return the first clock hour, and (3, hours * 108,000) counts."""
    threshold = gap_threshold(times)
    with Scratch() as scratch:
        resampler = Resampler(measured_rate(times, stretches(times, threshold)), threshold, scratch.write)
        for some in even([SampleChunk(times, acceleration)], piece):
            resampler.add(some)
        resampler.finish()
        first, hours = hours_spanned(times[0], times[-1])
        counts = np.full((3, hours * SAMPLES_PER_HOUR), MISSING, np.int16)
        for hour, runs in scratch.hours():
            begin = (hour - first) * SAMPLES_PER_HOUR
            counts[:, begin : begin + SAMPLES_PER_HOUR] = counts_of(hour, runs, correct)
    return first, counts


def surveyor(recording: Loaded, piece: int = 1 << 18) -> Surveyor:
    """A surveyor that has seen the whole recording."""
    found = Surveyor("file", recording.range_g)
    for some in even(recording.stream().pieces, piece):
        found.add(some)
    return found


def survey(recording: Loaded, piece: int = 1 << 18) -> Survey:
    """The survey per second."""
    return surveyor(recording, piece).seconds()


def prepare(recording: Loaded) -> tuple[PreparedRecording, NDArray[np.int16], NDArray[np.uint8]]:
    """Return the metadata, counts and wear."""
    with Scratch() as scratch:
        prepared = PreparedRecording(recording.stream(), "file", Preparation(), scratch)
        accel = np.full((3, prepared.hours * SAMPLES_PER_HOUR), MISSING, np.int16)
        wear = np.zeros(prepared.hours * 3600, np.uint8)
        for hour, data in prepared.stream():
            accel[:, hour * SAMPLES_PER_HOUR : (hour + 1) * SAMPLES_PER_HOUR] = data.accel
            wear[hour * 3600 : (hour + 1) * 3600] = data.wear
    return prepared, accel, wear
