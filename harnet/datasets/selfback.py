"""selfBACK (Sani et al., ICCBR 2017; UCI 521): Axivity AX3 on the dominant wrist, 100 Hz, nine activities.

`w/<activity>/<person>.csv`, at least a minute each, columns time,x,y,z: timestamps and g; `t/` is the thigh and is
ignored. This layout follows secondary descriptions and was never tested on the original files. Alternatively
`selfback-<person>__<activity>.parquet`, in the format of labelled_parquet.py.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.datasets import labelled_parquet
from harnet.datasets.cutting import WindowCutting, Windows, on_a_grid, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

ACTIVITIES = (
    "downstairs", "jogging", "lying", "sitting", "standing", "upstairs", "walk_fast", "walk_mod", "walk_slow",
)  # fmt: skip
RATE = 100
LONGEST_GAP = 0.5
"""Longest gap within a stretch, in seconds; our choice."""
HEADER = ["time", "x", "y", "z"]


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows of the wrist; HarnetError if there are none or a file is malformed."""
    made = Windows(cutting, ACTIVITIES)
    for person, activity, times, signal in _recordings(folder):
        for part in stretches(times, LONGEST_GAP):
            if part.stop - part.start > 1:
                made.add(person, on_a_grid(times[part], signal[part], RATE), ACTIVITIES.index(activity), RATE)
    return made.finish(str(folder), "w/<activity>/<person>.csv of UCI 521")


def _recordings(folder: Path) -> Iterator[tuple[str, str, NDArray[np.float64], NDArray[np.float64]]]:
    """Person, activity, (n,) seconds, (n, 3) in g."""
    for activity in ACTIVITIES:
        for path in sorted(folder.rglob(f"w/{activity}/*.csv")):
            yield path.stem, activity, *_read(path)
    for found in labelled_parquet.recordings(folder):
        activity = found.name.replace("-", "_")
        if activity in ACTIVITIES:
            yield found.person.removeprefix("selfback-"), activity, found.times, found.signal


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = [name.strip().lower() for name in next(rows, [])]
        if header != HEADER:
            raise HarnetError(f"{path}: begins with {','.join(header)!r}, expected {','.join(HEADER)!r}")
        try:
            table = [
                (datetime.fromisoformat(row[0].strip()), [float(row[n]) for n in (1, 2, 3)]) for row in rows if row
            ]
        except (ValueError, IndexError) as error:
            raise HarnetError(f"{path}: line {rows.line_num}: not a timestamp and three numbers ({error})") from error
    if not table:
        raise HarnetError(f"{path}: contains no samples: fetch it again")
    seconds = np.array([(row[0] - table[0][0]).total_seconds() for row in table])
    return seconds, np.array([row[1] for row in table], dtype=np.float64)
