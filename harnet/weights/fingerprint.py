"""The preprocessing fingerprint: the preprocessing that weights expect of their input.

Sampling rate, units, clip and window length are fixed by the architecture; the filter from the device's rate to 30 Hz
is the cohort's. An array of windows carries no metadata, so its units, length and rate are checked from the values.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet.encoder import ARCHITECTURES, AXES, SAMPLING_RATE, find_architecture
from harnet.errors import HarnetError
from harnet.weights.bundle_config import BundleConfig

COMPARED = ("rate", "units", "counts_per_g", "filter")
"""Preprocessing entries of a store that must match those of the weights. Calibration and non-wear rule may differ."""

_PLAUSIBLE_MEDIAN_G = (0.3, 3.0)
"""Plausible median magnitude in g: a wrist is still most of the time, so the median is close to gravity's 1 g."""

_UNITS = (("m/s²", 9.80665), ("mg", 1000.0), ("counts of 1/4096 g", 4096.0))
"""Common wrong units, and how many of each make 1 g."""


def fingerprint(config: BundleConfig) -> dict[str, str]:
    """Human-readable input requirements of the weights: rate, filter, units, clip, window, normalisation."""
    known = config.preprocessing
    counts = float(known["counts_per_g"]) if "counts_per_g" in known else 0.0
    return {
        "rate": f"{config.sampling_rate} Hz",
        "resampling filter": known.get("filter", "unknown"),
        "units": f"{config.units}, gravity included",
        "clip": f"±{32767 / counts:.0f} g" if counts else "unknown",
        "window": f"{config.window_seconds} s, {config.window_seconds * config.sampling_rate} samples",
        "normalisation inside the model": config.normalisation,
    }


def check_preprocessing(config: BundleConfig, found: Mapping[str, Any], where: str, weights: str) -> None:
    """Raise HarnetError, prefixed with `where`, if a stored signal's preprocessing differs from that of the weights.

    An entry that the weights do not state (published weights state none) matches any value.
    """
    for name in COMPARED:
        expected = config.preprocessing.get(name)
        if expected is not None and name in found and str(found[name]) != expected:
            raise HarnetError(
                f"{where}: {name} is {str(found[name])!r}, the weights {weights} were trained with {expected!r}: "
                "ingest the device files again with the harnet version recorded in the weights, or use other weights"
            )


def check_windows(
    windows: NDArray[np.floating], architecture: str, rate: float = SAMPLING_RATE, where: str = "windows"
) -> None:
    """Raise HarnetError unless `windows` is a valid input: (N, 3, L), floating point, finite, in g, at 30 Hz.

    `architecture` is a name such as "harnet10" and fixes L; `rate` is the sampling rate in Hz, if the caller knows it;
    `where` prefixes the message, which includes the call that fixes the problem. Units are checked by the median
    magnitude of all samples.
    """
    length = find_architecture(architecture).length
    if windows.ndim != 3 or windows.shape[1] != AXES or not len(windows):
        swap = ": windows.transpose(0, 2, 1)" if windows.ndim == 3 and windows.shape[2] == AXES else ""
        raise HarnetError(f"{where}: shape {windows.shape}, expected (N, {AXES}, {length}), N at least 1{swap}")
    if not np.issubdtype(windows.dtype, np.floating):
        raise HarnetError(f"{where}: {windows.dtype}, expected floating point in g: scale the device's counts to g")
    if rate != SAMPLING_RATE:
        raise HarnetError(f"{where}: {rate:g} Hz, expected {SAMPLING_RATE} Hz: {_resampled(windows.shape[2], rate)}")
    check_length(where, windows.shape[2], architecture)
    if bad := int((~np.isfinite(windows)).any(axis=(1, 2)).sum()):
        raise HarnetError(f"{where}: {bad:,} of {len(windows):,} windows contain NaN or infinity: drop them")
    check_units(where, float(np.median(np.linalg.norm(windows, axis=1))))


def check_length(where: str, length: int, architecture: str) -> None:
    """Raise HarnetError unless windows of `length` samples fit the architecture."""
    expected = find_architecture(architecture)
    if length == expected.length:
        return
    fits = [row.name for row in ARCHITECTURES.values() if row.length == length]
    if fits:
        advice = f"that length fits {fits[0]}"
    else:
        rate = length / expected.seconds
        advice = (
            f"if they last {expected.seconds} s ({rate:g} Hz), resample to {SAMPLING_RATE} Hz: "
            f"{_resampled(length, rate)}; otherwise cut them again"
        )
    raise HarnetError(f"{where}: windows of {length} samples, {architecture} takes {expected.length}: {advice}")


def check_units(where: str, median: float) -> None:
    """Raise HarnetError unless `median`, the median magnitude of a signal, is close to 1 g."""
    low, high = _PLAUSIBLE_MEDIAN_G
    if low <= median <= high:
        return
    for unit, one_g in _UNITS:
        if low <= median / one_g <= high:
            raise HarnetError(
                f"{where}: median magnitude {median:.4g}, expected about 1 g: looks like {unit}; divide by {one_g:g}: "
                f"windows / {one_g:g}"
            )
    advice = "was gravity removed? Keep it" if median < low else "scale to g"
    raise HarnetError(f"{where}: median magnitude {median:.4g}, expected about 1 g: {advice}")


def _resampled(length: int, rate: float) -> str:
    """The call that resamples windows of `length` samples at `rate` to 30 Hz."""
    target = round(length * SAMPLING_RATE / rate)
    factor = np.gcd(length, target)
    return (
        f"scipy.signal.resample_poly(windows, {target // factor}, {length // factor}, axis=2, padtype='line')"
        if target
        else "cut them again"
    )
