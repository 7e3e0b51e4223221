"""The findings of one pass over the samples, however these are cut into pieces."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.ingest.gathering import even
from data_shards.ingest.preparation import mean_enmo_mg
from data_shards.ingest.survey import Surveyor
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.in_memory import check, prepare, survey, surveyor

START = 1_700_000_000.25


def recording(n: int, rate: float = 50.0, seed: int = 0, range_g: float | None = 8.0) -> Loaded:
    random = np.random.default_rng(seed)
    signal = random.normal(0, 0.05, (n, 3)).astype(np.float32) + np.array([0, 0, 1], np.float32)
    times = START + np.arange(n) / rate
    return Loaded(times=times, acceleration=signal, nominal_rate=rate, device="formula", clock="utc", range_g=range_g)


@given(n=st.integers(2, 3000), rate=st.floats(20, 300), piece=st.integers(1, 700), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_the_survey_is_what_a_loop_over_seconds_finds(n: int, rate: float, piece: int, seed: int) -> None:
    there = recording(n, rate, seed)
    keep = np.random.default_rng(seed).random(n) > 0.2
    keep[[0, -1]] = True
    there = replace(there, acceleration=there.acceleration[keep], times=there.times[keep])
    found = survey(there, piece)
    second = np.floor(there.times).astype(int)
    assert found.seconds.tolist() == sorted(set(second.tolist()))
    for index in range(0, len(found.seconds), 7):
        values = there.acceleration[second == found.seconds[index]].astype(float)
        assert found.samples[index] == len(values)
        np.testing.assert_allclose(found.means[:, index], values.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.variances[:, index], values.var(axis=0), rtol=1e-6, atol=1e-9)
    assert (found.recorded == 1).all()
    windows = found.windows(10)
    assert (windows.seconds % 10 == 0).all()
    assert windows.samples.sum() == len(there.times)
    np.testing.assert_allclose(windows.sums.sum(axis=1), found.sums.sum(axis=1), rtol=1e-9)
    often = Surveyor("file", None)
    for some in even(there.stream().pieces, piece):
        often.add(some)
        often.make_windows()
    as_windows = often.finish()
    for name in ("seconds", "recorded", "samples"):
        np.testing.assert_array_equal(getattr(as_windows, name), getattr(windows, name))
    np.testing.assert_allclose(as_windows.squares, windows.squares, rtol=1e-12)


@pytest.mark.parametrize(("range_g", "share"), [(8.0, 0.03), (16.0, 0.0), (None, 0.0), (2.0, 0.05)])
def test_clipped_samples_are_counted_once(range_g: float | None, share: float) -> None:
    there = recording(10_000, range_g=range_g)
    there.acceleration[:200] = [-8, 8, 0.5]
    there.acceleration[200:300, 1] = 7.996  # the range of 10 bits in two's complement
    there.acceleration[300:400, 0] = -1.999
    there.acceleration[400:500, 2] = 2.0
    assert surveyor(there).clipped_share == pytest.approx(share)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 1234, 2999])
def test_a_value_that_is_no_number_is_found(value: float, row: int) -> None:
    there = recording(3000)
    there.acceleration[row, 2] = value
    with pytest.raises(HarnetError, match=f"file: sample {row} is"):
        check(there, "file", 10)


def test_interruptions_are_gaps_inside_the_recording() -> None:
    whole = recording(50 * 600)
    times = whole.times.copy()
    times[5000:] += 30.0
    times[20_000:] += 0.04  # 60 ms between two samples is no gap: the limit is max(2.5 periods, 1/15 s)
    times[25_000:] += 2.5
    quality = prepare(replace(whole, times=times))[0].quality()
    assert quality["interruptions"] == 2
    assert quality["interrupted_seconds"] == pytest.approx(32.5 + 2 * 0.02, abs=1e-3)
    assert prepare(whole)[0].quality()["interruptions"] == 0


def test_mean_acceleration_is_over_worn_seconds() -> None:
    accel = np.zeros((3, 2 * 108_000), np.int16)
    accel[2] = 4096
    accel[2, :54_000] = 4096 + 410  # half an hour at 100.1 mg
    accel[0, 54_000:108_000] = 0
    accel[:, 108_000:] = -32768
    wear = np.zeros(7200, np.uint8)
    assert mean_enmo_mg(accel, wear) == 0
    wear[:3600] = 1
    assert mean_enmo_mg(accel, wear) == pytest.approx(410 / 4096 * 1000 / 2, rel=1e-6)
    accel[2, 54_000:108_000] = 3000  # values below 1 g count as 0, not as negative
    assert mean_enmo_mg(accel, wear) == pytest.approx(410 / 4096 * 1000 / 2, rel=1e-6)
    wear[:1800] = 0
    assert mean_enmo_mg(accel, wear) == 0


def test_worn_seconds_by_clock_hour_cover_all_worn_seconds() -> None:
    there = recording(50 * 7300)
    prepared, _, wear = prepare(there)
    by_hour = prepared.quality()["worn_seconds_by_clock_hour"]
    assert len(by_hour) == 24
    assert sum(by_hour) == int(wear.sum()) > 7200
    first = int(START) // 3600 % 24
    assert [hour for hour in range(24) if by_hour[hour]] == sorted((first + step) % 24 for step in range(3))
