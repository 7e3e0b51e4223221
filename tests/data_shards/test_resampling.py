"""Irregular device times → 30 Hz: movement is kept, aliases are removed, and nothing is invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.ingest.resampling import gap_threshold, hours_spanned, measured_rate, stretches, to_counts
from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SAMPLES_PER_HOUR
from tests.data_shards.in_memory import resample

START = 1_700_000_000.0
RATES = [20, 25.6, 30, 32, 50, 85.7, 98.9, 100, 200, 1000, 3200]


def steady(rate: float, seconds: float, start: float = START) -> np.ndarray:
    return start + np.arange(int(seconds * rate)) / rate


def tone(times: np.ndarray, hertz: float, gravity: float = 0.0) -> np.ndarray:
    signal = np.zeros((len(times), 3), np.float32)
    signal[:, 0] = np.sin(2 * np.pi * hertz * (times - START))
    signal[:, 2] = gravity
    return signal


def recorded(times: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and values (3, n) in g of the 30 Hz samples that are not missing."""
    first_hour, counts = resample(times, signal)
    there = counts[0] != MISSING
    assert ((counts == MISSING) == ~there).all()
    return (np.flatnonzero(there) + first_hour * SAMPLES_PER_HOUR) / RATE, counts[:, there] / COUNTS_PER_G


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_tone_in_the_passband_survives_within_one_percent(rate: float, share: float) -> None:
    hertz = share * 0.8 * min(15, rate / 2)
    times = steady(rate, 20)
    at, values = recorded(times, tone(times, hertz))
    inner = slice(2 * RATE, -2 * RATE)
    np.testing.assert_allclose(values[0, inner], np.sin(2 * np.pi * hertz * (at[inner] - START)), atol=0.01)


@pytest.mark.parametrize("hertz", [17, 23, 29, 30.5, 40])
def test_a_tone_that_would_alias_is_gone(hertz: float) -> None:
    times = steady(100, 20)
    _, values = recorded(times, tone(times, hertz))
    assert np.abs(values[0, 2 * RATE : -2 * RATE]).max() < 0.001  # -60 dB


@given(
    rate=st.floats(20, 400),
    start=st.floats(0, 4e9),
    gravity=st.floats(-1.5, 1.5),
    seconds=st.floats(1, 30),
)
@settings(deadline=None, max_examples=60)
def test_gravity_is_exact_at_every_rate_up_to_the_edges(
    rate: float, start: float, gravity: float, seconds: float
) -> None:
    times = steady(rate, seconds, start)
    signal = np.tile(np.array([gravity, 0, 1], np.float32), (len(times), 1))
    at, values = recorded(times, signal)
    np.testing.assert_allclose(values, np.tile([[gravity], [0], [1]], len(at)), atol=0.5001 / COUNTS_PER_G + 1e-5)
    assert np.unique(values[2]).tolist() == [1.0]
    # Every grid point between the first and the last sample, and no others.
    assert at[0] - times[0] < 1 / RATE + 1e-4
    assert times[-1] - at[-1] < 1 / RATE + 1e-4
    assert at[0] > times[0] - 1e-4
    assert at[-1] < times[-1] + 1e-4
    np.testing.assert_allclose(np.diff(at), 1 / RATE, atol=1e-6)


def test_the_device_clock_is_followed_and_not_its_nominal_rate() -> None:
    times = START + np.cumsum(0.01 * (1 + 0.02 * np.sin(np.arange(12_000) / 3000)))
    at, values = recorded(times, tone(times, 2.0))
    inner = slice(2 * RATE, -2 * RATE)
    np.testing.assert_allclose(values[0, inner], np.sin(4 * np.pi * (at[inner] - START)), atol=0.002)


def test_jittered_times_are_used() -> None:
    jitter = np.random.default_rng(0).uniform(-0.004, 0.004, 6000)
    times = steady(100, 60) + jitter
    at, values = recorded(times, tone(times, 1.0))
    inner = slice(2 * RATE, -2 * RATE)
    error = values[0, inner] - np.sin(2 * np.pi * (at[inner] - START))
    assert np.abs(error).max() < 0.03  # 4 ms of a 1 Hz tone are 0.025


def test_a_gap_is_missing_and_its_sides_are_as_if_alone() -> None:
    times = np.concatenate([steady(100, 20), steady(100, 20, START + 25.5)])
    signal = tone(times, 3.0, gravity=1.0)
    at, values = recorded(times, signal)
    assert not ((at > START + 19.99 + 1e-6) & (at < START + 25.5 - 1e-6)).any()
    assert len(at) == pytest.approx(2 * 20 * RATE, abs=2)
    assert np.unique(values[2]).tolist() == [1.0]
    alone_at, alone = recorded(times[2000:], signal[2000:])
    np.testing.assert_array_equal(at[-len(alone_at) :], alone_at)
    np.testing.assert_array_equal(values[:, -len(alone_at) :], alone)


def test_what_is_a_gap() -> None:
    lost_one = np.delete(steady(25, 10), 100)
    lost_two = np.delete(steady(25, 10), [100, 101])
    threshold = gap_threshold(lost_one)
    assert threshold == gap_threshold(lost_two) == pytest.approx(0.1)
    assert stretches(lost_one, threshold) == [(0, 249)]
    assert stretches(lost_two, threshold) == [(0, 100), (100, 248)]
    assert measured_rate(lost_two, stretches(lost_two, threshold)) == pytest.approx(25)


def test_pieces_join_without_a_seam() -> None:
    # 25 minutes cross two boundaries between pieces of ten; a different start moves the boundaries.
    times = steady(50, 1500)
    signal = np.random.default_rng(1).normal(0, 0.3, (len(times), 3)).astype(np.float32)
    _, whole = resample(times, signal)
    _, later = resample(times[50 * 70 :], signal[50 * 70 :])
    both = (whole[0] != MISSING) & (later[0] != MISSING)
    both[: np.flatnonzero(both)[0] + 5 * RATE] = False
    assert int(both.sum()) > 1000 * RATE
    assert np.abs(whole[:, both].astype(int) - later[:, both]).max() <= 1  # rounding error in the last bit


def test_hours_are_whole_and_on_the_clock() -> None:
    times = steady(30, 2, start=7200 * 3600 - 1)
    first_hour, counts = resample(times, tone(times, 1.0, gravity=1.0))
    assert (first_hour, counts.shape) == (7199, (3, 2 * SAMPLES_PER_HOUR))
    assert np.flatnonzero(counts[2] != MISSING).tolist() == list(range(SAMPLES_PER_HOUR - 30, SAMPLES_PER_HOUR + 30))
    assert hours_spanned(times[0], times[-1]) == (7199, 2)


def test_counts_are_rounded_and_clipped_short_of_missing() -> None:
    counts = to_counts(np.array([0.0, 1.0, -9.0, 9.0, 1.4 / 4096, -1.6 / 4096], np.float32))
    assert counts.tolist() == [0, 4096, -32767, 32767, 1, -2]


@given(
    rate=st.floats(20, 200),
    piece=st.integers(1, 5000),
    lost=st.lists(st.integers(1, 40_000), max_size=6),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=25)
def test_pieces_give_the_same_bits_as_the_whole(rate: float, piece: int, lost: list[int], seed: int) -> None:
    times = steady(rate, 1300)[: 500 * piece]
    for at in lost:
        times[at:] += 7.3
    signal = np.random.default_rng(seed).normal(0, 1, (len(times), 3)).astype(np.float32)
    first_hour, whole = resample(times, signal, piece=1 << 30)
    again, pieces = resample(times, signal, piece=piece)
    assert again == first_hour
    np.testing.assert_array_equal(pieces, whole)
