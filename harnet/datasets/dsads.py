"""Daily and Sports Activities (Altun, Barshan and Tunçel, Pattern Recognition 2010; UCI 256): wrists, 25 Hz.

`a<activity>/p<person>/s<segment>.txt`: five minutes of an activity in 60 consecutive segments of five seconds, each 125
lines of 45 numbers; numbers 9 to 11 are the accelerometer of the right arm (Xsens MTx, ±5 g), 18 to 20 that of the left
arm, in m/s². Alternatively `dsads-p<person>__a<activity>-rightwrist.parquet`, in the format of labelled_parquet.py.
Eight people, 19 activities.

Some stretches are exactly zero on all axes, which gravity makes impossible: the sensor returned no data. In the copy
used here this is the last second of every five on the stairs of two people. These samples are treated as missing.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.datasets import labelled_parquet
from harnet.datasets.cutting import STANDARD_GRAVITY, WindowCutting, Windows
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

ACTIVITIES = (
    "sitting", "standing", "lying on back", "lying on right side", "ascending stairs", "descending stairs",
    "standing in elevator", "moving in elevator", "walking in parking lot", "walking treadmill 4 km/h flat",
    "walking treadmill 4 km/h 15 deg", "running treadmill 8 km/h", "exercising on stepper",
    "exercising on cross trainer", "cycling horizontal", "cycling vertical", "rowing", "jumping", "playing basketball",
)  # fmt: skip
"""a01 to a19."""
PEOPLE = 8
RATE = 25
SHAPE = (125, 45)
"""Shape of a segment: samples by channels (nine each on torso, right arm, left arm, right leg, left leg)."""
ARMS = {"right": slice(9, 12), "left": slice(18, 21)}
"""Wrist -> columns of a segment."""

_ACTIVITY = re.compile(r"a(\d\d)")
_RECORDING = re.compile(r"a(\d\d)-(right|left)wrist")


def read(folder: Path, cutting: WindowCutting, wrists: Sequence[str] = ("right",)) -> ParsedDataset:
    """Windows of these wrists; HarnetError if there are none or a file is malformed."""
    made, people, dead, lost = Windows(cutting, ACTIVITIES), set(), 0.0, 0
    for person, activity, signal in _recordings(folder, wrists):
        absent = (signal == 0).all(axis=1)
        cut = made.add(person, np.where(absent[:, None], np.nan, signal), activity, RATE)
        if absent.any():
            dead += absent.sum() / RATE
            lost += 1 - bool(cut)
        people.add(person)
    notes = [f"{len(people)} people; the complete data set has {PEOPLE}"] if len(people) < PEOPLE else []
    if dead:
        notes.append(f"{dead:,.0f} s of exact zeros treated as missing; {lost} recordings therefore gave no window")
    return made.finish(str(folder), "a01/p1/s01.txt to a19/p8/s60.txt of UCI 256", notes)


def _recordings(folder: Path, wrists: Sequence[str]) -> Iterator[tuple[str, int, NDArray[np.float64]]]:
    """Person, activity index and acceleration (n, 3) in g, one wrist at a time."""
    for home in sorted(folder.rglob("a[0-9][0-9]/p[1-8]")):
        match = _ACTIVITY.fullmatch(home.parent.name)
        if match and home.is_dir() and 1 <= int(match[1]) <= len(ACTIVITIES):
            segments = [_segment(path) for path in sorted(home.glob("s[0-9][0-9].txt"))]
            for wrist in wrists if segments else ():
                signal = np.concatenate(segments)[:, ARMS[wrist]] / STANDARD_GRAVITY
                yield home.name, int(match[1]) - 1, signal
    for found in labelled_parquet.recordings(folder):
        if (match := _RECORDING.fullmatch(found.name)) and match[2] in wrists:
            yield found.person.removeprefix("dsads-"), int(match[1]) - 1, found.signal


def _segment(path: Path) -> NDArray[np.float64]:
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise HarnetError(f"{path}: expected comma-separated numbers ({error})") from error
    if table.shape != SHAPE:
        raise HarnetError(
            f"{path}: {table.shape[0]} lines of {table.shape[1]} numbers, expected {SHAPE[0]} of {SHAPE[1]}"
        )
    return table
