import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harnet.handcrafted import features, names

TIME = np.arange(300) / 30


def one(window: np.ndarray) -> dict[str, float]:
    return dict(zip(names(), features(window[None].astype(np.float32))[0].tolist(), strict=True))


def walk(hertz: float) -> np.ndarray:
    window = np.zeros((3, 300))
    window[2] = 1 + 0.3 * np.sin(2 * np.pi * hertz * TIME)
    return window


def test_a_cadence_is_found_in_spectrum_and_autocorrelation() -> None:
    found = one(walk(2.0))
    assert abs(found["z peak Hz"] - 2.0) < 0.06
    assert found["z power 2.0-3.0 Hz"] + found["z power 1.0-2.0 Hz"] > 0.95
    assert found["autocorrelation peak"] > 0.8
    assert min(abs(found["autocorrelation lag"] - lag) for lag in (0.5, 1.0, 1.5)) < 0.04
    assert abs(found["z mean"] - 1) < 1e-3
    assert abs(found["z std"] - 0.3 / np.sqrt(2)) < 1e-3


def test_posture_is_in_pitch_and_roll() -> None:
    lying = np.stack([np.ones(300), np.zeros(300), np.zeros(300)])
    assert abs(one(lying)["pitch"] - np.pi / 2) < 1e-3
    hanging = np.stack([np.zeros(300), np.ones(300), np.zeros(300)])
    assert abs(one(hanging)["roll"] - np.pi / 2) < 1e-3


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.float32, (2, 3, 150), elements=st.floats(-16, 16, width=32)))
def test_every_window_has_finite_features_of_its_own(windows: np.ndarray) -> None:
    found = features(windows)
    assert found.shape == (2, len(names()))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(features(windows[1:]), found[1:], rtol=1e-4, atol=1e-4)


def test_a_still_window_has_no_shape_of_its_rounding() -> None:
    still = np.ones((3, 300)) + 1e-7 * np.random.default_rng(0).standard_normal((3, 300))
    found = one(still)
    assert abs(found["correlation xy"]) < 1e-3
    assert abs(found["autocorrelation peak"]) < 1e-3
