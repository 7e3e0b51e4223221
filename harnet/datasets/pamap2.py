"""PAMAP2 (Reiss and Stricker, ISWC 2012; UCI 231): hand accelerometer, 100 Hz, of nine people.

`Protocol/subject10x.dat`, 54 numbers per line: 0 time in s, 1 label, 4 to 6 the ±16 g accelerometer of the hand in
m/s², NaN where wireless data were lost. Labels and people as selected by Yuan et al. 2024.
"""

import re
from pathlib import Path

import numpy as np

from harnet.datasets.cutting import STANDARD_GRAVITY, UNLABELLED, WindowCutting, Windows, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

ACTIVITIES = {1: "lying", 2: "sitting", 3: "standing", 4: "walking", 12: "ascending stairs", 13: "descending stairs",
              16: "vacuum cleaning", 17: "ironing"}  # fmt: skip
PEOPLE = tuple(str(number) for number in range(101, 109))
"""Subject 109 performed only one of these activities and is excluded."""
RATE = 100
COLUMNS = 54
LONGEST_GAP = 0.5
"""Longest gap within a stretch, in seconds; our choice."""

_NAME = re.compile(r"subject(10\d)\.dat")


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows of subjects 101 to 108; HarnetError if one is missing or a file is malformed."""
    made = Windows(cutting, list(ACTIVITIES.values()))
    paths = {}
    for path in sorted(folder.rglob("subject10?.dat")):
        match = _NAME.fullmatch(path.name)
        if match and path.parent.name != "Optional" and match[1] in PEOPLE:
            paths[match[1]] = path
    if paths and (absent := sorted(set(PEOPLE) - set(paths))):
        raise HarnetError(f"{folder}: no Protocol/subject{absent[0]}.dat: fetch the complete data set again")
    for person, path in paths.items():
        try:
            table = np.loadtxt(path, usecols=(0, 1, 4, 5, 6), ndmin=2)
        except (ValueError, IndexError) as error:
            raise HarnetError(f"{path}: expected {COLUMNS} numbers per line ({error})") from error
        labels = np.full(len(table), UNLABELLED)
        for index, code in enumerate(ACTIVITIES):
            labels[table[:, 1] == code] = index
        for part in stretches(table[:, 0], LONGEST_GAP):
            made.add(person, table[part, 2:] / STANDARD_GRAVITY, labels[part], RATE)
    return made.finish(str(folder), "Protocol/subject101.dat to subject108.dat of PAMAP2")
