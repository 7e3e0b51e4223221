"""Motion and non-wear per second."""

import numpy as np
import pytest

from data_shards.ingest.wear import STILL_G, detect
from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR


def recording(hours: int) -> np.ndarray:
    """Hours in which x moves (standard deviation 0.1 g) in addition to gravity on z."""
    noise = np.random.default_rng(0).normal(0, 0.1, (3, hours * SAMPLES_PER_HOUR))
    noise[1:] = 0
    noise[2] += 1
    return np.rint(noise * COUNTS_PER_G).astype(np.int16)


def hold_still(counts: np.ndarray, start_second: int, seconds: int) -> None:
    counts[0, start_second * RATE : (start_second + seconds) * RATE] = 0


def test_motion_is_the_summed_variance_of_the_axes() -> None:
    counts = np.random.default_rng(1).integers(-5000, 5000, (3, SAMPLES_PER_HOUR)).astype(np.int16)
    found = detect(counts)
    expected = np.sqrt((counts.reshape(3, -1, RATE) / COUNTS_PER_G).var(axis=2).sum(axis=0))
    np.testing.assert_allclose(found.motion, expected, rtol=1e-5)
    assert found.motion.dtype == np.float32
    assert found.wear.dtype == np.uint8


def test_a_second_with_a_missing_sample_is_neither_moving_nor_worn() -> None:
    counts = recording(1)
    counts[:, 100 * RATE + 7] = MISSING
    found = detect(counts)
    assert (found.motion[100], found.wear[100]) == (0, 0)
    assert found.complete_seconds == SECONDS_PER_HOUR - 1
    assert int(found.wear.sum()) == SECONDS_PER_HOUR - 1


@pytest.mark.parametrize(("minutes", "worn"), [(60, False), (70, False), (59.5, True)])
def test_an_hour_without_movement_is_not_worn(minutes: float, worn: bool) -> None:
    counts = recording(3)
    hold_still(counts, 1800, int(minutes * 60))
    found = detect(counts)
    still = slice(1800, 1800 + int(minutes * 60))
    assert (found.wear[still] == worn).all()
    assert (np.delete(found.wear, np.r_[still]) == 1).all()


def test_one_axis_above_the_limit_is_movement() -> None:
    counts = np.zeros((3, 2 * SAMPLES_PER_HOUR), np.int16)
    # The standard deviation of a square wave is its amplitude.
    amplitude = int(STILL_G * COUNTS_PER_G)
    counts[1] = np.where(np.arange(counts.shape[1]) % 2, amplitude, -amplitude)
    assert not detect(counts).wear.any()
    counts[1] = np.where(np.arange(counts.shape[1]) % 2, amplitude + 1, -amplitude - 1)
    assert detect(counts).wear.all()


def test_a_damaged_block_does_not_end_a_still_night_but_a_pause_does() -> None:
    counts = recording(3)
    hold_still(counts, 1800, 80 * 60)
    counts[:, 4200 * RATE : 4202 * RATE] = MISSING
    assert not detect(counts).wear[1800 : 1800 + 80 * 60].any()
    counts[:, 4200 * RATE : 4220 * RATE] = MISSING
    # 40 minutes on each side of a window without data: neither side lasts an hour.
    assert detect(counts).wear[1800:4200].all()


def test_all_missing_is_nothing() -> None:
    found = detect(np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16))
    assert found.complete_seconds == 0
    assert not found.wear.any()
    assert not found.motion.any()
