"""Who a synthetic person is: habits of sleep and movement, posture of the hand, and the device's own errors."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """What random numbers are drawn for: each purpose has a stream of its own, so that one may grow alone."""

    PERSON = 0
    NIGHTS = 1
    BOUTS = 2
    EVENTS = 3
    POSTURE = 4
    EFFORT = 5
    TEXTURE = 6
    STEPS = 7
    TABLES = 8


def draws(seed: int, number: int, purpose: Purpose) -> np.random.Generator:
    """The random stream of one person for one purpose."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(number, int(purpose)))))


@dataclass(frozen=True)
class Device:
    """Errors of one accelerometer, of the size that its data sheet allows."""

    gain: NDArray[np.float64]
    """(3, 3) measured g on each axis (row) for one g along each (column)."""
    offset: NDArray[np.float64]
    """(3,) in g."""
    slope: NDArray[np.float64]
    """(3,) in g per degree Celsius."""
    noise: NDArray[np.float64]
    """(3,) standard deviation in g, of white noise at 30 Hz."""


@dataclass(frozen=True)
class SyntheticPerson:
    """One synthetic person with a device."""

    name: str
    """Pseudonym, also of the recording."""
    first_day: int
    """Days from Monday, 1 January 2024 to the midnight at which the recording begins."""
    sleep_onset: float
    """Usual hour at which sleep begins, in hours after noon."""
    sleep_hours: float
    """Usual length of the night."""
    employed: bool
    """Sits more from nine to five on working days, and sleeps later and longer at the weekend."""
    liveliness: float
    """Factor on the share of walking, and on the strength of movements."""
    runs_per_day: float
    """Probability of half an hour of running in a day."""
    takes_off_at_night: bool
    """Lays the device on the table for most nights."""
    stops_wearing: float
    """Day from which the device is not worn any more; infinity for nearly all."""
    step_rate: float
    """Steps per second at a usual pace."""
    stride: NDArray[np.float32]
    """(3, 1024) acceleration in g over a stride of two steps, along the device's axes."""
    hand: NDArray[np.float64]
    """(3, 3) rotation from the forearm to the device: which wrist, which way round, and how straight."""
    device: Device
    """Its errors."""


def person(seed: int, number: int) -> SyntheticPerson:
    """The person of that number in the cohort of that seed."""
    random = draws(seed, number, Purpose.PERSON)
    return SyntheticPerson(
        name=f"synthetic-{number:06d}",
        first_day=int(random.integers(0, 366)),
        sleep_onset=float(random.normal(11.2, 0.9)),  # adults fall asleep about 23 h, an hour earlier or later
        sleep_hours=float(np.clip(random.normal(7.5, 0.6), 5.5, 9.5)),
        employed=bool(random.random() < 0.6),
        liveliness=float(np.clip(random.lognormal(0, 0.25), 0.5, 2)),
        runs_per_day=float(random.choice([0, 0.35], p=[0.8, 0.2])),
        takes_off_at_night=bool(random.random() < 0.04),
        stops_wearing=float(random.uniform(1, 7)) if random.random() < 0.03 else float("inf"),
        step_rate=float(np.clip(random.normal(1.85, 0.1), 1.5, 2.2)),  # about 110 steps a minute
        stride=_stride(random),
        hand=_hand(random),
        device=_device(random),
    )


def _stride(random: np.random.Generator) -> NDArray[np.float32]:
    """One stride as a sum of harmonics; the second is the step, the first the swing of the arm."""
    phase = np.arange(1024) / 1024
    wave = np.zeros((3, 1024))
    for harmonic, strength in enumerate((0.45, 1.0, 0.3, 0.55, 0.2, 0.35, 0.15, 0.25, 0.1, 0.15), start=1):
        size = strength * random.lognormal(0, 0.25, (3, 1))
        wave += size * np.cos(2 * np.pi * (harmonic * phase + random.random((3, 1))))
    # Forearm, across, out of the wrist: while walking the forearm's axis hangs down and takes the impact.
    wave *= np.array([[0.26], [0.18], [0.12]]) / wave.std(axis=1, keepdims=True)
    return wave.astype(np.float32)


def _hand(random: np.random.Generator) -> NDArray[np.float64]:
    """Worn on either wrist and either way round, a little askew."""
    flips = np.diag(random.choice([-1.0, 1.0], 3))
    tilt, _ = np.linalg.qr(np.eye(3) + random.normal(0, 0.12, (3, 3)))
    return np.asarray(flips @ (tilt * np.sign(np.diag(tilt))))


def _device(random: np.random.Generator) -> Device:
    """Device errors as a MEMS accelerometer of the Axivity AX3's kind has them.

    Noise and the drift with temperature follow the data sheet of the ADXL345 (Analog Devices): 0.75 LSB rms on x and
    y and 1.1 LSB on z at 100 Hz with 3.9 mg an LSB, of which the low-pass filter to 30 Hz leaves about half; 0.4 mg
    per degree on x and y and 1.2 mg on z at most; at most 1 % of an axis' acceleration shows on another, which a
    calibration axis by axis cannot remove. Offsets of tens of mg and gains within a few per cent are what van Hees et
    al. 2014 (J Appl Physiol 117(7):738-744) calibrate away.
    """
    return Device(
        gain=np.diag(1 + random.normal(0, 0.01, 3)) + random.normal(0, 0.003, (3, 3)),
        offset=random.normal(0, 0.015, 3),
        slope=random.uniform(-1, 1, 3) * (0.0004, 0.0004, 0.0012),
        noise=np.array([0.0015, 0.0015, 0.0022]) * random.uniform(0.85, 1.15),
    )
