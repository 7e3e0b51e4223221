"""The preprocessing fingerprint: what a signal must have been through for weights to mean anything on it.

Rate, units, clip and window are fixed by the architecture; the filter from the device's rate to 30 Hz is the cohort's.
Windows in an array say nothing of where they come from, so their units, length and rate are judged from the numbers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet.encoder import ARCHITECTURES, AXES, SAMPLING_RATE, find_architecture
from harnet.errors import HarnetError
from harnet.weights.bundle_config import BundleConfig

COMPARED = ("rate", "units", "counts_per_g", "filter")
"""Entries of a store's preprocessing that must be those of the weights. Calibration and wear rule may differ."""

_PLAUSIBLE_MEDIAN_G = (0.3, 3.0)
"""A wrist is still, or its swings cancel, often enough that the median magnitude is near gravity's 1 g."""

_UNITS = (("m/s²", 9.80665), ("mg", 1000.0), ("counts of 1/4096 g", 4096.0))
"""Units that are met in the wild, and how many of them are 1 g."""


def fingerprint(config: BundleConfig) -> dict[str, str]:
    """What the weights expect of a signal, for people: rate, filter, units, clip, window, normalisation."""
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
    """HarnetError, beginning with `where`, if a stored signal was made in another way than that of the weights.

    Weights that say nothing of an entry (published ones do not) fit any.
    """
    for name in COMPARED:
        wanted = config.preprocessing.get(name)
        if wanted is not None and name in found and str(found[name]) != wanted:
            raise HarnetError(
                f"{where}: {name} is {str(found[name])!r}, the weights {weights} were trained with {wanted!r}: ingest "
                "the device files again with the version of harnet that the weights name, or use other weights"
            )


def check_windows(
    windows: NDArray[np.floating], architecture: str, rate: float = SAMPLING_RATE, where: str = "windows"
) -> None:
    """HarnetError, with the call that mends it, unless `windows` is (N, 3, L), in g, finite, at 30 Hz, L as expected.

    `architecture` is a name such as "harnet10"; `rate` is what the caller knows of the samples per second; `where`
    begins the message. Units are judged by the median magnitude of all samples.
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
        raise HarnetError(f"{where}: {bad:,} of {len(windows):,} windows have values that are not finite: drop them")
    check_units(where, float(np.median(np.linalg.norm(windows, axis=1))))


def check_length(where: str, length: int, architecture: str) -> None:
    """HarnetError unless windows of `length` samples fit the architecture."""
    wanted = find_architecture(architecture)
    if length == wanted.length:
        return
    fits = [row.name for row in ARCHITECTURES.values() if row.length == length]
    if fits:
        advice = f"that length fits {fits[0]}"
    else:
        rate = length / wanted.seconds
        advice = (
            f"if they last {wanted.seconds} s ({rate:g} Hz), resample to {SAMPLING_RATE} Hz: "
            f"{_resampled(length, rate)}; else cut them anew"
        )
    raise HarnetError(f"{where}: windows of {length} samples, {architecture} takes {wanted.length}: {advice}")


def check_units(where: str, median: float) -> None:
    """HarnetError unless the median magnitude of a signal is near 1 g."""
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
    """The call that makes windows of 30 Hz of those of another rate."""
    wanted = round(length * SAMPLING_RATE / rate)
    factor = np.gcd(length, wanted)
    return (
        f"scipy.signal.resample_poly(windows, {wanted // factor}, {length // factor}, axis=2, padtype='line')"
        if wanted
        else "cut them anew"
    )
