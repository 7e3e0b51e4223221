"""Calibration against gravity: known errors are recovered, and nothing is claimed that the data cannot show."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_shards.ingest.calibration import calibrate, correction
from data_shards.ingest.survey import Survey
from data_shards.layout import COUNTS_PER_G, MISSING
from data_shards.recording import Loaded, Temperature
from tests.data_shards.in_memory import prepare, resample, survey

START = 1_700_000_000 // 86400 * 86400.0
GAIN = np.array([1.04, 0.97, 1.02])
OFFSET = np.array([0.03, -0.05, 0.02])
SLOPE = np.array([0.0008, -0.0005, 0.0])


def celsius_at(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return 28 + 5 * np.sin(2 * np.pi * (times - START) / 86400)


def worn(
    hours: float = 25, rate: float = 10.0, seed: int = 0, one_sided: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and true g, (n, 3): a new posture every minute, movement in every third minute, and sensor noise."""
    random = np.random.default_rng(seed)
    times = START + np.arange(int(hours * 3600 * rate)) / rate
    postures = random.normal(size=(int(np.ceil(hours * 60)), 3))
    if one_sided:
        postures[:, 2] = np.abs(postures[:, 2])
    postures /= np.linalg.norm(postures, axis=1, keepdims=True)
    minute = ((times - START) // 60).astype(int)
    moving = (minute % 3 == 0)[:, None] * 0.3 * np.sin(2 * np.pi * 1.7 * times)[:, None]
    return times, postures[minute] + moving + random.normal(0, 0.003, (len(times), 3))


def measured(times: NDArray[np.float64], truth: NDArray[np.float64], slope: NDArray[np.float64] = SLOPE * 0) -> Loaded:
    """The recording of an uncalibrated device: truth = GAIN g + OFFSET + slope (celsius - 28)."""
    raw = (truth - OFFSET - slope * (celsius_at(times) - 28)[:, None]) / GAIN
    at = times[:: len(times) // 500]
    thermometer = Temperature(at, celsius_at(at).astype(np.float32))
    return Loaded(
        times=times,
        acceleration=raw.astype(np.float32),
        nominal_rate=10.0,
        device="formula",
        clock="utc",
        range_g=8.0,
        temperature=thermometer,
    )


def found_in(recording: Loaded) -> Survey:
    return survey(recording)


@pytest.mark.parametrize("slope", [SLOPE, SLOPE * 0], ids=["with slope", "without"])
@pytest.mark.parametrize("thermometer", [True, False])
def test_gain_offset_and_slope_are_recovered(slope: NDArray[np.float64], thermometer: bool) -> None:
    times, truth = worn()
    recording = measured(times, truth, slope)
    temperature = recording.temperature if thermometer else None
    result = calibrate(found_in(recording), temperature)
    assert result["calibrated"], result["reason"]
    assert result["error_before_mg"] > 15
    if thermometer:
        np.testing.assert_allclose(result["gain"], GAIN, atol=0.0005)
        at_28 = np.array(result["offset"]) - np.array(result["slope"]) * (result["mean_celsius"] - 28)
        np.testing.assert_allclose(at_28, OFFSET, atol=0.0005)
        np.testing.assert_allclose(result["slope"], slope, atol=0.00005)
    if thermometer or not slope.any():
        correct = correction(result, temperature)
        assert correct is not None
        assert np.abs(correct(times, recording.acceleration.T).T - truth).max() < 0.001
        assert result["error_after_mg"] < 1.5
    if not thermometer:
        assert (result["slope"], result["mean_celsius"]) == ([0.0, 0.0, 0.0], 0.0)


@given(
    gain=st.lists(st.floats(0.9, 1.1), min_size=3, max_size=3),
    offset=st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=3),
)
@settings(deadline=None, max_examples=25)
def test_any_affine_error_within_ten_percent_is_recovered(gain: list[float], offset: list[float]) -> None:
    random = np.random.default_rng(1)
    means = random.normal(size=(3, 9000))
    means /= np.linalg.norm(means, axis=0)
    raw = (means - np.array(offset)[:, None]) / np.array(gain)[:, None]
    # Ten samples per second close to the mean: as measured by a device with hardly any noise.
    found = Survey(
        seconds=np.arange(90_000),
        recorded=np.ones(90_000, int),
        samples=np.full(90_000, 10),
        sums=np.repeat(raw, 10, axis=1) * 10,
        squares=(np.repeat(raw, 10, axis=1) ** 2 + 1e-6) * 10,
    )
    result = calibrate(found, None)
    if result["error_before_mg"] > 0.001:
        assert result["calibrated"], result["reason"]
        np.testing.assert_allclose(result["gain"], gain, atol=1e-6)
        np.testing.assert_allclose(result["offset"], offset, atol=1e-6)


def test_calibrating_again_is_harmless() -> None:
    times, truth = worn()
    result = calibrate(found_in(replace(measured(times, truth), acceleration=truth.astype(np.float32))), None)
    np.testing.assert_allclose(result["gain"], 1, atol=0.0005)
    np.testing.assert_allclose(result["offset"], 0, atol=0.0005)


def test_at_30_hz_it_is_the_same_as_on_the_samples() -> None:
    times, truth = worn(hours=1, rate=50.0)
    truth[1000:1050] = 7.9  # beyond the device's range once calibrated: nothing is clipped before calibration
    recording = measured(times, truth, SLOPE)
    calibration = {**calibrate(found_in(measured(*worn(), SLOPE)), measured(*worn(), SLOPE).temperature)}
    correct = correction(calibration, recording.temperature)  # type: ignore[arg-type]
    assert correct is not None
    _, after = resample(times, recording.acceleration, correct=correct)
    _, before = resample(times, correct(times, recording.acceleration.T).T)
    np.testing.assert_array_equal(after == MISSING, before == MISSING)
    assert np.abs(after.astype(int) - before).max() <= 1
    assert after.max() > 7.8 * COUNTS_PER_G


@pytest.mark.parametrize("noise", [0.0, 0.003], ids=["one value repeated", "a still device"])
@pytest.mark.parametrize(("share", "points"), [(0.5, 1), (0.8, 4)])
def test_many_windows_at_one_point_do_not_bend_a_perfect_device(noise: float, share: float, points: int) -> None:
    times, truth = worn(hours=48)
    random = np.random.default_rng(5)
    asleep = (times - START) % (48 * 3600 / points) < share * 48 * 3600 / points
    directions = random.normal(size=(points, 3))
    directions *= 1.02 / np.linalg.norm(directions, axis=1, keepdims=True)
    which = ((times - START) // (48 * 3600 / points)).astype(int)[asleep]
    truth[asleep] = directions[which] + random.normal(0, 1, (asleep.sum(), 3)) * noise
    recording = replace(measured(times, truth), acceleration=truth.astype(np.float32))
    for temperature in (None, recording.temperature):
        result = calibrate(found_in(recording), temperature)
        np.testing.assert_allclose(result["gain"], 1, atol=0.001)
        np.testing.assert_allclose(result["offset"], 0, atol=0.001)
        assert result["error_after_mg"] < 5


@pytest.mark.parametrize(
    "readings",
    [
        lambda celsius: np.full_like(celsius, np.nan),
        lambda celsius: np.zeros_like(celsius),
        lambda celsius: np.full_like(celsius, 150),
        lambda celsius: np.where(np.arange(len(celsius)) % 7 == 0, np.nan, celsius),
        lambda celsius: celsius[:0],
    ],
    ids=["NaN", "constant 0", "beyond belief", "NaN in between", "none"],
)
def test_a_damaged_thermometer_spoils_nothing(readings) -> None:  # type: ignore[no-untyped-def]
    times, truth = worn()
    recording = measured(times, truth)
    assert recording.temperature is not None
    celsius = readings(recording.temperature.celsius)
    temperature = Temperature(recording.temperature.times[: len(celsius)], celsius)
    result = calibrate(found_in(recording), temperature)
    assert result["calibrated"], result["reason"]
    correct = correction(result, temperature)
    assert correct is not None
    assert np.abs(correct(times, recording.acceleration.T).T - truth).max() < 0.001


def test_a_sphere_with_one_side_is_not_enough() -> None:
    times, truth = worn(one_sided=True)
    result = calibrate(found_in(measured(times, truth)), None)
    assert not result["calibrated"]
    assert "z was never still on both sides of 0 g" in result["reason"]
    assert (result["gain"], result["offset"]) == ([1.0] * 3, [0.0] * 3)
    assert result["error_before_mg"] == result["error_after_mg"] > 10
    assert correction(result, None) is None


def test_too_few_still_windows_and_too_short() -> None:
    times, truth = worn()
    truth[6000:] += 0.3 * np.sin(2 * np.pi * 1.3 * times[6000:])[:, None]  # all but ten minutes
    result = calibrate(found_in(measured(times, truth)), None)
    assert result["reason"] == f"{result['still_windows']} still ten-second windows; 50 are needed"
    assert 0 < result["still_windows"] < 50
    short = calibrate(found_in(measured(*worn(hours=2))), None)
    assert short["reason"] == "2 h recorded; 24 h are needed"
    assert short["still_windows"] > 100
    assert short["error_before_mg"] > 15


def test_a_device_that_no_affine_fit_mends_stays_as_it_is() -> None:
    times, truth = worn()
    # A broken device: it reads gravity as 0.8 to 1.2 g, and no axis explains the error.
    raw = truth * (1 + 0.2 * np.sign(np.sin(times / 60 * np.pi)))[:, None]
    result = calibrate(found_in(replace(measured(times, truth), acceleration=raw.astype(np.float32))), None)
    assert not result["calibrated"]
    assert "mg from gravity after the fit" in result["reason"]


def test_as_scikit_digital_health_finds_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        preprocessing = pytest.importorskip("skdh.preprocessing", reason="needs scikit-digital-health (pip)")
    times, truth = worn(hours=25)
    recording = measured(times, truth)
    peer = preprocessing.CalibrateAccelerometer(min_hours=24)
    theirs = peer.predict(time=times, accel=recording.acceleration.astype(np.float64), fs=10.0, apply=True)
    ours = calibrate(found_in(recording), None)
    np.testing.assert_allclose(ours["gain"], theirs["scale"], atol=0.002)
    # their formula is (g + offset) * scale
    np.testing.assert_allclose(ours["offset"], theirs["offset"] * theirs["scale"], atol=0.002)
    correct = correction(ours, None)
    assert correct is not None
    error = np.abs(correct(times, recording.acceleration.T).T - truth).max()
    assert error <= np.abs(theirs["accel"] - truth).max() + 1e-4


def test_what_is_stored_is_calibrated() -> None:
    times, truth = worn(rate=25.0, hours=24.5)
    recording = replace(measured(times, truth, SLOPE), nominal_rate=25.0)
    prepared, accel, _ = prepare(recording)
    assert prepared.calibration["calibrated"]
    _, expected = resample(times, truth.astype(np.float32))
    there = expected[0] != MISSING
    assert np.abs(accel[:, there].astype(int) - expected[:, there]).max() <= 0.001 * COUNTS_PER_G + 1
