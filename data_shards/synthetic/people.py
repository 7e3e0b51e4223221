"""A synthetic person: sleep and movement habits, posture of the hand, and errors of the device."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """Purpose of random numbers: each has its own stream, so that drawing more for one does not change the others."""

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
    """Errors of one accelerometer, as large as its data sheet allows."""

    gain: NDArray[np.float64]
    """(3, 3) measured g on each axis (row) per g along each axis (column)."""
    offset: NDArray[np.float64]
    """(3,) in g."""
    slope: NDArray[np.float64]
    """(3,) in g per degree Celsius."""
    noise: NDArray[np.float64]
    """(3,) standard deviation of the white noise at 30 Hz, in g."""


@dataclass(frozen=True)
class SyntheticPerson:
    """One synthetic person with a device."""

    name: str
    """Pseudonym, also the name of the recording."""
    first_day: int
    """Midnight at which the recording begins, in days since Monday, 1 January 2024."""
    sleep_onset: float
    """Usual time of falling asleep, in hours after noon."""
    sleep_hours: float
    """Usual length of the night."""
    employed: bool
    """Whether the person sits more from nine to five on working days, and sleeps later and longer at the weekend."""
    liveliness: float
    """Factor that scales the share of walking and the strength of movements."""
    runs_per_day: float
    """Probability of half an hour of running on a day."""
    takes_off_at_night: bool
    """Whether the person takes the device off on most nights."""
    stops_wearing: float
    """Day from which the device is no longer worn; infinity for nearly everyone."""
    step_rate: float
    """Steps per second at a usual pace."""
    stride: NDArray[np.float32]
    """(3, 1024) acceleration in g over a stride (two steps), along the device's axes."""
    hand: NDArray[np.float64]
    """(3, 3) rotation from the forearm to the device: which wrist, which way round, and how askew."""
    device: Device
    """Errors of the device."""


def person(seed: int, number: int) -> SyntheticPerson:
    """The person with this number in the cohort with this seed."""
    random = draws(seed, number, Purpose.PERSON)
    return SyntheticPerson(
        name=f"synthetic-{number:06d}",
        first_day=int(random.integers(0, 366)),
        sleep_onset=float(random.normal(11.2, 0.9)),  # adults fall asleep at about 23 h, give or take an hour
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
    """One stride as a sum of harmonics: the first is the swing of the arm, the second the step."""
    phase = np.arange(1024) / 1024
    wave = np.zeros((3, 1024))
    for harmonic, strength in enumerate((0.45, 1.0, 0.3, 0.55, 0.2, 0.35, 0.15, 0.25, 0.1, 0.15), start=1):
        size = strength * random.lognormal(0, 0.25, (3, 1))
        wave += size * np.cos(2 * np.pi * (harmonic * phase + random.random((3, 1))))
    # Axes: along the forearm, across it, out of the wrist. While walking, the forearm hangs down and takes the impact.
    wave *= np.array([[0.26], [0.18], [0.12]]) / wave.std(axis=1, keepdims=True)
    return wave.astype(np.float32)


def _hand(random: np.random.Generator) -> NDArray[np.float64]:
    """Orientation of the device: on either wrist, either way round, and a little askew."""
    flips = np.diag(random.choice([-1.0, 1.0], 3))
    tilt, _ = np.linalg.qr(np.eye(3) + random.normal(0, 0.12, (3, 3)))
    return np.asarray(flips @ (tilt * np.sign(np.diag(tilt))))


def _device(random: np.random.Generator) -> Device:
    """Errors of a MEMS accelerometer like that of the Axivity AX3.

    Noise and temperature drift follow the data sheet of the ADXL345 (Analog Devices). Noise: 0.75 LSB rms on x and y
    and 1.1 LSB on z at 100 Hz with 3.9 mg per LSB, about half of which passes the low-pass filter to 30 Hz. Drift: at
    most 0.4 mg per degree on x and y, and 1.2 mg on z. Cross-axis sensitivity: at most 1 %, which a calibration of each
    axis by itself cannot remove. Offsets of tens of mg and gains within a few per cent are what the calibration of van
    Hees et al. 2014 (J Appl Physiol 117(7):738-744) removes.
    """
    return Device(
        gain=np.diag(1 + random.normal(0, 0.01, 3)) + random.normal(0, 0.003, (3, 3)),
        offset=random.normal(0, 0.015, 3),
        slope=random.uniform(-1, 1, 3) * (0.0004, 0.0004, 0.0012),
        noise=np.array([0.0015, 0.0015, 0.0022]) * random.uniform(0.85, 1.15),
    )
