"""Handcrafted features of a window, used by the random forest: statistics, correlations, spectrum."""

import numpy as np
from numpy.typing import NDArray

from harnet.encoder import SAMPLING_RATE

BANDS_HZ = ((0.2, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 5.0), (5.0, 8.0), (8.0, 15.0))
"""Frequency bands in Hz, chosen around the cadence of walking (1.5 to 2.5 steps per second) and its harmonics."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_CHUNK = 8192
_TINY = 1e-12


def names() -> list[str]:
    """Names of the features, in order."""
    signals = ("x", "y", "z", "norm")
    made = [f"{each} {kind}" for kind in ("mean", "std", "skewness", "kurtosis") for each in signals]
    made += [f"{each} quantile {q}" for q in QUANTILES for each in signals]
    made += ["correlation xy", "correlation xz", "correlation yz", "pitch", "roll", "ENMO", "jerk"]
    made += [f"{each} power {low}-{high} Hz" for low, high in BANDS_HZ for each in signals]
    made += [f"{each} {kind}" for kind in ("log power", "peak Hz", "peak share", "entropy") for each in signals]
    made += [f"autocorrelation {kind}" for kind in ("peak", "lag")]
    return made


def features(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (N, F), finite float32 in the order of `names`, of windows (N, 3, L) in g at 30 Hz."""
    parts = [_features(windows[start : start + _CHUNK]) for start in range(0, len(windows), _CHUNK)]
    return np.concatenate(parts).astype(np.float32)


def _features(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    x = windows.astype(np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    signals = np.concatenate([x, norm], axis=1)
    mean, std = signals.mean(axis=2), signals.std(axis=2)
    centred = signals - mean[..., None]
    # Below 0.1 mg a window is constant: what remains is rounding, not movement.
    scaled = centred / np.maximum(std, 1e-4)[..., None]
    quantiles = np.quantile(signals, QUANTILES, axis=2)
    columns = [mean, std, (scaled**3).mean(axis=2), (scaled**4).mean(axis=2), *quantiles]
    pairs = [(scaled[:, a] * scaled[:, b]).mean(axis=1) for a, b in ((0, 1), (0, 2), (1, 2))]
    pitch = np.arctan2(mean[:, 0], np.hypot(mean[:, 1], mean[:, 2]))
    roll = np.arctan2(mean[:, 1], mean[:, 2])
    enmo = np.maximum(norm[:, 0] - 1, 0).mean(axis=1)
    jerk = np.abs(np.diff(x, axis=2)).mean(axis=(1, 2))
    columns.append(np.stack([*pairs, pitch, roll, enmo, jerk], axis=1))
    return np.concatenate([*columns, *_spectrum(centred), _periodicity(scaled[:, 3])], axis=1)


def _spectrum(centred: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Relative power per band, then log power, peak frequency in Hz, its relative power, entropy; each (N, 4)."""
    taper = np.hanning(centred.shape[2])
    power = np.abs(np.fft.rfft(centred * taper, axis=2)) ** 2
    hertz = np.fft.rfftfreq(centred.shape[2], 1 / SAMPLING_RATE)
    power = power[..., hertz >= BANDS_HZ[0][0]]
    hertz = hertz[hertz >= BANDS_HZ[0][0]]
    total = power.sum(axis=2)
    share = power / np.maximum(total, _TINY)[..., None]
    bands = [share[..., (hertz >= low) & (hertz < high)].sum(axis=2) for low, high in BANDS_HZ]
    entropy = -(share * np.log(share + _TINY)).sum(axis=2) / np.log(len(hertz))
    return [*bands, np.log(total + 1e-6), hertz[share.argmax(axis=2)], share.max(axis=2), entropy]


def _periodicity(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximum autocorrelation of the norm at lags of 0.3 to 2 s, and its lag in seconds: (N, 2)."""
    length = scaled.shape[1]
    transformed = np.fft.rfft(scaled, 2 * length, axis=1)
    lags = np.fft.irfft(np.abs(transformed) ** 2, axis=1)[:, :length] / length
    first, last = int(0.3 * SAMPLING_RATE), 2 * SAMPLING_RATE
    part = lags[:, first : last + 1]
    return np.stack([part.max(axis=1), (part.argmax(axis=1) + first) / SAMPLING_RATE], axis=1)
