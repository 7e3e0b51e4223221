"""Measurements of a wrist-worn device while its wearer follows a diary: 30 Hz, three axes, in counts.

The signal is a sum of gravity, whose direction turns slowly; movement, which is noise with a spectrum that falls like
1/f, scaled by the current effort; the waveform of a stride while walking or running; and the device's white noise.
Gain, offset and temperature drift are then applied. Slow changes are drawn once per second and interpolated to 30 Hz
by splines; only the noise has the resolution of the samples, and it is read from a table at random positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from data_shards.layout import COUNTS_PER_G, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.synthetic.diary import Activity, bouts
from data_shards.synthetic.people import Purpose, SyntheticPerson, draws

Floats = NDArray[np.float32]

TABLE = 1 << 18
"""Samples in a table of noise, 2.4 h. Every hour and every axis reads it from a different position."""
QUANTISATION_G = 0.0006
"""Quantisation noise in g: steps of 1/256 g at 100 Hz give 1/256/sqrt(12) g, half of which passes the filter to
30 Hz."""
BODY_CELSIUS, ROOM_CELSIUS, LAG_SECONDS = 32.0, 21.0, 900.0
"""Temperatures of a worn and an unworn device, and the time constant of the transition between them."""


@dataclass(frozen=True)
class Habit:
    """Typical movement of the wrist during an activity."""

    posture: tuple[float, float, float]
    """Usual direction of gravity: along the forearm, across it, out of the wrist."""
    variety: float
    """How far the posture of a bout deviates from it."""
    turns_per_hour: float
    """Changes of posture per hour."""
    turn: float
    """Size of each change of posture."""
    wobble: float
    """Slow swaying about the posture, in radians."""
    effort: float
    """Strength of movement in g, while there is movement."""
    share: float
    """Share of the time with movement."""


HABITS = {
    Activity.SLEEP: Habit((0, 0, 0.2), 1.0, 5, 0.9, 0.0, 0.025, 0.006),
    Activity.SITTING: Habit((-0.2, 0.1, 0.9), 0.5, 30, 0.40, 0.012, 0.050, 0.35),
    Activity.HOUSEHOLD: Habit((-0.5, 0.2, 0.6), 0.6, 300, 0.60, 0.20, 0.190, 0.90),
    Activity.WALKING: Habit((-1.0, 0.1, 0.2), 0.2, 40, 0.20, 0.10, 0.050, 1.0),
    Activity.RUNNING: Habit((-0.4, 0.3, 0.8), 0.2, 20, 0.15, 0.10, 0.120, 1.0),
    Activity.NOT_WORN: Habit((0, 0, 1.0), 0.3, 0, 0.0, 0.0, 0.0, 0.0),
}
"""Typical values, chosen by eye. The effort of sitting is set so that an axis has a standard deviation above 20 mg in
about 60 % of its ten-second windows, as in recordings of people at a desk."""
assert tuple(HABITS) == tuple(Activity)
GAIT = {Activity.WALKING: (1.0, 1.0), Activity.RUNNING: (1.45, 2.6)}
"""Step rate and strength of the stride, relative to a usual walk."""


@dataclass(frozen=True)
class Course:
    """Everything that changes slowly: one value per second, and one more at the end for interpolation."""

    gravity: Floats
    """(3, seconds + 3) directions, starting one second before the recording."""
    effort: Floats
    """(seconds + 1,) in g."""
    strides: Floats
    """(seconds,) strides per second; 0 while not walking or running."""
    vigour: Floats
    """(seconds + 1,) factor that scales the waveform of the stride."""
    celsius: Floats
    """(seconds,) temperature of the device."""


def course(person: SyntheticPerson, seed: int, number: int, doing: NDArray[np.uint8]) -> Course:
    """Draw the slow changes for a diary of whole hours."""
    starts, lengths, activities = bouts(doing)
    bout = np.repeat(np.arange(len(starts)), lengths)
    random = draws(seed, number, Purpose.EFFORT)
    sway, slow, fast = (_swaying(random, len(doing), seconds) for seconds in (4.0, 40.0, 6.0))
    active = fast > ndtri(1 - _of(doing, [habit.share for habit in HABITS.values()]))
    effort = _of(doing, [habit.effort for habit in HABITS.values()]) * np.where(active, np.exp(0.6 * slow - 0.18), 0.05)
    turning = random.random(len(doing)) < _of(doing, [habit.turns_per_hour / 3600 for habit in HABITS.values()])
    jerk = random.lognormal(np.log(0.04), 0.7, int(turning.sum()))
    effort[turning] += jerk * _of(doing[turning], [habit.turn for habit in HABITS.values()])
    effort *= np.float32(person.liveliness) ** 0.5
    strides, vigour = _gait(person, draws(seed, number, Purpose.STEPS), bout, activities, slow)
    turning[starts] = True
    gravity = _gravity(person, draws(seed, number, Purpose.POSTURE), doing, turning, bout, sway)
    target = np.where(doing == Activity.NOT_WORN, ROOM_CELSIUS, BODY_CELSIUS)
    keep = np.exp(-1 / LAG_SECONDS)
    celsius, _ = lfilter([1 - keep], [1, -keep], target, zi=[keep * target[0]])
    return Course(gravity, np.append(effort, 0).astype(np.float32), strides, vigour, celsius.astype(np.float32))


def measure(person: SyntheticPerson, seed: int, number: int, slowly: Course) -> NDArray[np.int16]:
    """(3, hours * 108,000) int16 in 1/4096 g, as measured by the device, including its errors."""
    random = draws(seed, number, Purpose.TEXTURE)
    movement, noise = _tables(seed)
    device = person.device
    level = np.sqrt(device.noise**2 + QUANTISATION_G**2).astype(np.float32)
    drift = device.offset[:, None] + device.slope[:, None] * (slowly.celsius - BODY_CELSIUS)
    hours = len(slowly.strides) // SECONDS_PER_HOUR
    counts = np.empty((3, hours * SAMPLES_PER_HOUR), np.int16)
    for hour in range(hours):
        seconds = slice(hour * SECONDS_PER_HOUR, (hour + 1) * SECONDS_PER_HOUR)
        signal = _hour_of(person, slowly, seconds, movement, random.integers(0, TABLE - SAMPLES_PER_HOUR, 3))
        signal = (device.gain.astype(np.float32) @ signal.reshape(3, -1)).reshape(signal.shape)
        signal += drift[:, seconds, None].astype(np.float32)
        for axis, start in enumerate(random.integers(0, TABLE - SAMPLES_PER_HOUR, 3)):
            signal[axis] += level[axis] * noise[axis, start : start + SAMPLES_PER_HOUR].reshape(-1, RATE)
        signal *= COUNTS_PER_G
        np.clip(np.rint(signal, out=signal), -32767, 32767, out=signal)
        counts[:, hour * SAMPLES_PER_HOUR : (hour + 1) * SAMPLES_PER_HOUR] = signal.reshape(3, -1)
    return counts


def _hour_of(
    person: SyntheticPerson, slowly: Course, seconds: slice, movement: Floats, starts: NDArray[np.int64]
) -> Floats:
    """(3, 3600, 30) true acceleration in g."""
    signal = np.stack([_drawn_out(axis[seconds.start : seconds.stop + 3], _CUBIC) for axis in slowly.gravity])
    signal /= np.sqrt(np.einsum("ask,ask->sk", signal, signal))
    effort = _drawn_out(slowly.effort[seconds.start : seconds.stop + 1], _LINEAR)
    for axis, start in enumerate(starts):
        signal[axis] += effort * movement[axis, start : start + SAMPLES_PER_HOUR].reshape(-1, RATE)
    gait = np.flatnonzero(slowly.strides[seconds])
    if len(gait):
        phase = np.cumsum(slowly.strides[seconds], dtype=np.float64)[gait]
        place = phase[:, None] + slowly.strides[seconds][gait, None] * (np.arange(RATE) / RATE - 1)
        where = (place * person.stride.shape[1]).astype(np.int64) % person.stride.shape[1]
        vigour = _drawn_out(slowly.vigour[seconds.start : seconds.stop + 1], _LINEAR)[gait]
        stride = (person.hand @ person.stride).astype(np.float32)
        for axis in range(3):
            signal[axis, gait] += vigour * stride[axis].take(where)
    return signal


def _gravity(
    person: SyntheticPerson,
    random: np.random.Generator,
    doing: NDArray[np.uint8],
    turning: NDArray[np.bool_],
    bout: NDArray[np.int64],
    sway: Floats,
) -> Floats:
    """Directions, not yet normalised: a posture per bout, turns within the bout, and swaying about it."""
    first = np.flatnonzero(turning)
    spell = np.cumsum(turning) - 1
    activity = doing[first]
    variety, turn, wobble = (
        _of(activity, values)[:, None]
        for values in zip(*((habit.variety, habit.turn, habit.wobble) for habit in HABITS.values()), strict=True)
    )
    usual = np.array([habit.posture for habit in HABITS.values()])[activity]
    posture = usual + variety * random.normal(size=(bout[-1] + 1, 3))[bout[first]]
    posture = posture + turn * random.normal(size=(len(first), 3))
    posture = posture / np.linalg.norm(posture, axis=1, keepdims=True)
    axes = wobble * random.normal(size=(len(first), 3))
    turned, swaying = (person.hand @ values.T for values in (posture, axes))
    gravity = turned.astype(np.float32)[:, spell] + swaying.astype(np.float32)[:, spell] * sway
    return np.pad(gravity, ((0, 0), (1, 2)), mode="edge")


def _gait(
    person: SyntheticPerson,
    random: np.random.Generator,
    bout: NDArray[np.int64],
    activities: NDArray[np.uint8],
    slow: Floats,
) -> tuple[Floats, Floats]:
    """Strides per second and their vigour: each bout has its pace, which varies by two per cent."""
    pace, strength = (_of(activities, [GAIT.get(each, (0.0, 0.0))[part] for each in Activity]) for part in (0, 1))
    own_pace = 0.5 * person.step_rate * pace * random.normal(1, 0.04, len(pace))
    own_strength = strength * random.lognormal(0, 0.2, len(strength)) * person.liveliness**0.5
    strides = own_pace[bout] * (1 + 0.02 * np.clip(slow, -3, 3))
    vigour = np.append(own_strength[bout] * np.exp(0.1 * slow), 0)
    return strides.astype(np.float32), vigour.astype(np.float32)


@lru_cache(maxsize=1)
def _tables(seed: int) -> tuple[Floats, Floats]:
    """(3, TABLE) noise of movement and of the device, both with unit variance; all people with a seed share them.

    The spectrum of movement falls like 1/f from 0.3 to 6 Hz and is flat above, as in real wrist recordings. Both end
    between 12 and 15 Hz, like the resampler's pass band.
    """
    random = draws(seed, 0, Purpose.TABLES)
    white = np.fft.rfft(random.standard_normal((2, 3, TABLE), dtype=np.float32), axis=2)
    frequency = np.fft.rfftfreq(TABLE, 1 / RATE)
    band = np.clip((15 - frequency) / 3, 0, 1)
    falling = np.where(frequency > 0.15, np.maximum(1 / np.maximum(frequency, 0.3), 1 / 6), 0)
    tables = np.fft.irfft(white * np.stack([falling * band, band])[:, None], TABLE, axis=2)
    tables /= tables.std(axis=2, keepdims=True)
    movement, noise = tables.astype(np.float32)
    return movement, noise


def _swaying(random: np.random.Generator, length: int, seconds: float) -> Floats:
    """Standard normal values, one per second, whose autocorrelation falls to 1/e within `seconds`."""
    keep = np.exp(-1 / seconds)
    drawn = random.standard_normal(length, dtype=np.float32)
    return np.asarray(lfilter([np.sqrt(1 - keep**2)], [1, -keep], drawn), np.float32)


def _of(activity: NDArray[np.uint8], values: Sequence[float]) -> Floats:
    """The value of each second's activity."""
    return np.array(values, np.float32)[activity]


def _basis() -> tuple[Floats, Floats]:
    """Weights (knots, 30) for interpolation within a second: four knots for a cubic B-spline, two for linear."""
    t = np.arange(RATE) / RATE
    cubic = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return cubic.astype(np.float32), np.stack([1 - t, t]).astype(np.float32)


_CUBIC, _LINEAR = _basis()


def _drawn_out(knots: Floats, basis: Floats) -> Floats:
    """Interpolate one knot per second to (seconds, 30); needs len(basis) - 1 knots more than seconds."""
    return np.asarray(sliding_window_view(knots, len(basis)) @ basis)
