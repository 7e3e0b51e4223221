"""Calibration of the axes against gravity (van Hees et al. 2014, J Appl Physiol 117(7):738-744).

A device that is still measures only gravity, so the means of its still ten-second windows should lie on the unit
sphere. A gain, an offset and, with a thermometer, a temperature slope for each axis are fitted to that by iteratively
re-weighted least squares. The objective and the weights are the paper's; the minimum is found by Gauss-Newton steps on
all axes together, about ten steps where the paper's closest-point iteration takes hundreds.

Implemented here because scikit-digital-health's calibration needs the whole recording as float64, with rolling means
and deviations of the same size (several GB for a week at 100 Hz); here sums per window are enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.info import Calibration
from data_shards.ingest.survey import WINDOW_SECONDS, Survey
from data_shards.readers.samples import CELSIUS
from data_shards.recording import Temperature

Correction = Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.float32]]
"""Maps times (n,) in seconds since 1970 and values (3, n) in g to calibrated values (3, n) in g."""

STILL_G = 0.013
"""Standard deviation in g below which an axis is still (the paper's)."""
SPHERE_G = 0.3
"""Every axis must have still windows beyond ± this value in g (the paper's)."""
MAX_ERROR_MG = 10.0
"""The mean absolute deviation of still windows from 1 g must be below this after calibration (the paper's)."""
LEAST_HOURS = 24.0
"""Our choice: a day including the night. In less, the wrist rarely rests in enough directions, and the fit overfits."""
LEAST_WINDOWS = 50
"""Our choice: there are nine unknowns, and windows come in long runs of one posture."""
WORSE_MG = 1.0
"""Our choice: the calibration of another recording is not taken if it moves the still windows further from gravity by
more than this; a device that needs no calibration lies within the noise of 0.1 mg with or without."""
REPEATED_G2 = 1e-12
"""A window in which no axis varies by more is a repeated value (idle sleep), not measured: every sensor has noise."""
POINT_G = 0.05
"""Edge in g of the cubes that group windows at one point of the sphere: one posture, or a bedside table."""
MOST_AT_A_POINT = 12
"""Maximum total weight of the windows at one point (two minutes); a whole night on one side adds no information."""
LEAST_FILLED = 0.9
"""Minimum share of a full window's samples: a window with few samples looks still."""
GRAVITY_G = (0.7, 1.3)
"""Plausible norm of a still window in g; outside it is not gravity but zeros, or clipped."""
LEAST_CELSIUS_SPAN = 1.0
"""Minimum temperature range in °C over the still windows; below it slope and offset cannot be separated."""
WEIGHT_FLOOR_G = 0.01
"""A window is weighted by the inverse of its distance from the sphere, at most 100 (the paper's)."""
STEPS = 100
"""Maximum number of steps, far more than needed."""
CONVERGED = 1e-8
"""The fit has converged when no coefficient changes by more in a step, in g or relative."""

CALIBRATION = (
    "gain, offset and slope by temperature per axis, fitted to gravity in still 10 s windows (van Hees et al. 2014), "
    "windows of one repeated value left out, all those in one cube of 0.05 g counted for at most 12, "
    "for recordings of a day or more, if the error after is below 10 mg"
)
"""Stored with every recording. Change it whenever the results change."""


def not_calibrated(reason: str, error_mg: float = -1.0, still_windows: int = 0) -> Calibration:
    """The calibration entry of a recording that is stored uncalibrated."""
    return Calibration(
        calibrated=False,
        reason=reason,
        gain=[1.0, 1.0, 1.0],
        offset=[0.0, 0.0, 0.0],
        slope=[0.0, 0.0, 0.0],
        mean_celsius=0.0,
        error_before_mg=error_mg,
        error_after_mg=error_mg,
        still_windows=still_windows,
    )


@dataclass(frozen=True)
class _Still:
    """Still windows."""

    means: NDArray[np.float64]
    """(3, n) in g."""
    celsius: NDArray[np.float64]
    """(n,) temperatures minus `mean_celsius`; all 0 without a usable thermometer."""
    mean_celsius: float
    """Temperature in °C to which they are relative; 0 without a usable thermometer."""

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """(n,) weight of each window: 1, or less if many lie at one point of the sphere."""
        cubes = np.floor(self.means / POINT_G).astype(np.int64)
        _, cube, counts = np.unique(cubes, axis=1, return_inverse=True, return_counts=True)
        weight: NDArray[np.float64] = np.minimum(1, MOST_AT_A_POINT / counts)[cube]
        return weight


def calibrate(found: Survey, temperature: Temperature | None) -> Calibration:
    """Fit the calibration of a recording, or return the reason why it has none."""
    hours = int(found.recorded.sum()) / 3600
    still = _still_windows(found, temperature)
    count = still.means.shape[1]
    before = _error_mg(still.means, still.weight) if count else -1.0
    if hours < LEAST_HOURS:
        return not_calibrated(f"{hours:.2g} h recorded; {LEAST_HOURS:g} h are needed", before, count)
    if count < LEAST_WINDOWS:
        return not_calibrated(f"{count} still ten-second windows; {LEAST_WINDOWS} are needed", before, count)
    for axis, name in enumerate("xyz"):
        low, high = float(still.means[axis].min()), float(still.means[axis].max())
        if not (low < -SPHERE_G and high > SPHERE_G):
            reason = (
                f"{name} was never still on both sides of 0 g ({low:.2f} to {high:.2f} g; ±{SPHERE_G:g} g are needed)"
            )
            return not_calibrated(reason, before, count)
    coefficients = _fit(still)
    after = _error_mg(_apply(coefficients, still), still.weight)
    if not after < min(MAX_ERROR_MG, before):
        reason = f"{after:.1f} mg from gravity after the fit, {before:.1f} before; below {MAX_ERROR_MG:g} is needed"
        return not_calibrated(reason, before, count)
    gain, offset, slope = (list(map(float, values)) for values in coefficients)
    return Calibration(
        calibrated=True,
        reason="",
        gain=gain,
        offset=offset,
        slope=slope,
        mean_celsius=still.mean_celsius,
        error_before_mg=before,
        error_after_mg=after,
        still_windows=count,
    )


def take_over(own: Calibration, known: Calibration, found: Survey, temperature: Temperature | None) -> Calibration:
    """Apply the calibration `known` of the same device to a recording that has none of its `own`.

    It stays uncalibrated if that moves its still windows, if there are enough, more than `WORSE_MG` away from gravity.
    """
    still = _still_windows(found, temperature, known["mean_celsius"])
    count = still.means.shape[1]
    before = after = -1.0
    if count:
        applied = _apply(np.array([known["gain"], known["offset"], known["slope"]]), still)
        before, after = _error_mg(still.means, still.weight), _error_mg(applied, still.weight)
    if count >= LEAST_WINDOWS and after > before + WORSE_MG:
        reason = f"{own['reason']}; with the calibration given, {after:.1f} mg from gravity, {before:.1f} without"
        return not_calibrated(reason, before, count)
    return {**known, "error_before_mg": before, "error_after_mg": after, "still_windows": count}


def correction(calibration: Calibration, temperature: Temperature | None) -> Correction | None:
    """Function that turns measured g at given times, (3, n), into calibrated g; None if nothing is to be corrected."""
    if not calibration["calibrated"]:
        return None
    gain, offset, slope = (np.array(calibration[key])[:, None] for key in ("gain", "offset", "slope"))
    readings = _readings(temperature) if slope.any() else None

    def correct(times: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.float32]:
        corrected = values * gain + offset
        if readings is not None:
            corrected += slope * (np.interp(times, *readings) - calibration["mean_celsius"])
        return corrected.astype(np.float32)

    return correct


def _still_windows(found: Survey, temperature: Temperature | None, mean_celsius: float | None = None) -> _Still:
    """The still windows, with temperatures relative to `mean_celsius`.

    Without it they are relative to their own mean, and all 0 if they vary too little to fit a slope. A known slope
    applies at any temperature.
    """
    windows = found.windows(WINDOW_SECONDS)
    norm = np.linalg.norm(windows.means, axis=0)
    still = (
        (windows.variances < STILL_G**2).all(axis=0)
        & (windows.variances > REPEATED_G2).any(axis=0)
        & (windows.samples >= LEAST_FILLED * np.median(windows.samples))
        & (norm > GRAVITY_G[0])
        & (norm < GRAVITY_G[1])
    )
    means = windows.means[:, still]
    readings = _readings(temperature)
    if readings is not None and means.shape[1]:
        celsius = np.interp(windows.seconds[still] + WINDOW_SECONDS / 2, *readings)
        if mean_celsius is None and np.ptp(celsius) >= LEAST_CELSIUS_SPAN:
            mean_celsius = float(celsius.mean())
        if mean_celsius is not None:
            return _Still(means, celsius - mean_celsius, mean_celsius)
    return _Still(means, np.zeros(means.shape[1]), 0.0)


def _readings(temperature: Temperature | None) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Times and °C of the thermometer's plausible readings; None if there are none."""
    if temperature is None:
        return None
    usable = (temperature.celsius >= CELSIUS[0]) & (temperature.celsius <= CELSIUS[1])  # False for NaN
    return (temperature.times[usable], temperature.celsius[usable].astype(np.float64)) if usable.any() else None


def _fit(still: _Still) -> NDArray[np.float64]:
    """(3, 3): rows gain, offset and slope, columns the axes."""
    design = np.stack([still.means, np.ones_like(still.means), np.broadcast_to(still.celsius, still.means.shape)])
    coefficients = np.array([[1.0] * 3, [0.0] * 3, [0.0] * 3])
    for _ in range(STEPS):
        estimate = _apply(coefficients, still)
        norm = np.linalg.norm(estimate, axis=0)
        # d norm / d coefficient = (that axis' share of the direction) * (what the coefficient multiplies).
        jacobian = (design * (estimate / norm)).reshape(9, -1)
        weight = still.weight / np.maximum(np.abs(norm - 1), WEIGHT_FLOOR_G)
        # The minimum-norm solution if a coefficient is undetermined: without a thermometer the slopes stay 0.
        normal = jacobian * weight @ jacobian.T
        step = np.linalg.lstsq(normal, jacobian @ (weight * (1 - norm)), rcond=1e-12)[0].reshape(3, 3)
        coefficients = coefficients + step
        if np.abs(step).max() < CONVERGED:
            break
    return coefficients


def _apply(coefficients: NDArray[np.float64], still: _Still) -> NDArray[np.float64]:
    gain, offset, slope = coefficients[:, :, None]
    applied: NDArray[np.float64] = gain * still.means + offset + slope * still.celsius
    return applied


def _error_mg(means: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Weighted mean absolute deviation of the norms from 1 g, in mg."""
    return float(np.average(np.abs(np.linalg.norm(means, axis=0) - 1), weights=weight) * 1000)
