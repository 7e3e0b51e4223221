"""WISDM 2019, watch accelerometer (Weiss et al., IEEE Access 2019; UCI 507): 51 people, 18 activities, 20 Hz.

`raw/watch/accel/data_16xx_accel_watch.txt`, lines `id,code,timestamp,x,y,z;` in m/s²; codes A to S except N, from
activity_key.txt. Some copies lack the timestamp, or contain the lines of subject 1629 twice.
"""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.datasets.cutting import STANDARD_GRAVITY, WindowCutting, Windows, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

ACTIVITIES = {
    "A": "walking", "B": "jogging", "C": "stairs", "D": "sitting", "E": "standing", "F": "typing", "G": "teeth",
    "H": "soup", "I": "chips", "J": "pasta", "K": "drinking", "L": "sandwich", "M": "kicking", "O": "catch",
    "P": "dribbling", "Q": "writing", "R": "clapping", "S": "folding",
}  # fmt: skip
RATE = 20
PEOPLE = 51
LONGEST_GAP = 1.0
"""Longest gap within a stretch, in seconds; our choice."""

_NAME = re.compile(r"data_(16\d\d)_accel_watch\.txt")
_EXPECTED = "raw/watch/accel/data_16xx_accel_watch.txt of the WISDM 2019 data set"


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows of all people; HarnetError for a malformed line, naming file and line."""
    made, notes, lost = Windows(cutting, list(ACTIVITIES.values())), [], 0
    paths = sorted(path for path in folder.rglob("data_*_accel_watch.txt") if _NAME.fullmatch(path.name))
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        raise HarnetError(f"{folder}: contains {max(names, key=names.count)} more than once: pass the folder of one "
                          "copy")  # fmt: skip
    for path in paths:
        person, table, doubled = _read(path)
        if doubled:
            notes.append(f"{path.name}: {doubled:,} duplicate lines were read once")
        codes = np.array([row[0] for row in table])
        edges = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(codes)]
        for begin, end in pairwise(edges):
            lost += _add(made, person, table[begin:end])
    if lost:
        notes.append(f"{lost:,} stretches were shorter than a window")
    if 0 < len(paths) < PEOPLE:
        notes.append(f"files of {len(paths)} people; the complete data set has {PEOPLE}")
    return made.finish(str(folder), _EXPECTED, notes)


_Row = tuple[str, float | None, float, float, float]
"""Activity code, time in seconds or None, and x, y, z in m/s²."""


def _add(made: Windows, person: str, rows: list[_Row]) -> int:
    signal = np.array([row[2:] for row in rows]) / STANDARD_GRAVITY
    label = list(ACTIVITIES).index(rows[0][0])
    times: NDArray[np.floating] | None = None
    if rows[0][1] is not None:
        times = np.array([row[1] for row in rows], dtype=float)
    parts = [slice(None)] if times is None else stretches(times, LONGEST_GAP)
    return sum(made.add(person, signal[part], label, RATE) == 0 for part in parts)


def _read(path: Path) -> tuple[str, list[_Row], int]:
    """Person, rows in order, and the number of duplicate lines that were dropped."""
    rows: list[_Row] = []
    seen: set[str] = set()
    doubled = 0
    person = _NAME.fullmatch(path.name)[1]  # type: ignore[index]
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip().rstrip(";")
        if not text:
            continue
        row = _parse(text, person, f"{path}: line {number}")
        # Without a timestamp, an equal line may be another sample with equal values.
        if row[1] is not None:
            if text in seen:
                doubled += 1
                continue
            seen.add(text)
        rows.append(row)
    if not rows:
        raise HarnetError(f"{path}: empty: fetch it again")
    if len({row[1] is None for row in rows}) > 1:
        raise HarnetError(f"{path}: only some lines have a timestamp: fetch it again")
    if rows[0][1] is None:
        rows, doubled = _without_second_half(rows)
    return person, rows, doubled


def _parse(text: str, person: str, where: str) -> _Row:
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) not in (5, 6) or cells[0] != person or cells[1] not in ACTIVITIES:
        raise HarnetError(
            f"{where}: {text[:60]!r}, expected '{person},code,timestamp,x,y,z;' with a code from A to S except N"
        )
    try:
        numbers = [float(cell) for cell in cells[2:]]
    except ValueError:
        raise HarnetError(f"{where}: {text[:60]!r}, expected numbers after the code") from None
    # Timestamps are in nanoseconds; only differences matter.
    time = numbers[0] * 1e-9 if len(cells) == 6 else None
    x, y, z = numbers[-3:]
    return cells[1], time, x, y, z


def _without_second_half(rows: list[_Row]) -> tuple[list[_Row], int]:
    """Drop the second half of a file that consists of the same content twice; returns rows and the number dropped."""
    half = len(rows) // 2
    return (rows[:half], half) if len(rows) % 2 == 0 and rows[:half] == rows[half:] else (rows, 0)
