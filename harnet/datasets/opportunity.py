"""Opportunity (Roggen et al., INSS 2010; UCI 226): right lower arm, 30 Hz, four people, four locomotion labels.

`dataset/S<1-4>-ADL<1-5>.dat` and `S<1-4>-Drill.dat`, 250 numbers per line. Columns, from 0, by column_names.txt: 0 time
in ms, 63 to 65 accelerometer of the right lower arm in mg, 243 locomotion: 1 stand, 2 walk, 4 sit, 5 lie.
"""

import re
from pathlib import Path

import numpy as np

from harnet.datasets.cutting import UNLABELLED, WindowCutting, Windows, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

ACTIVITIES = {1: "stand", 2: "walk", 4: "sit", 5: "lie"}
PEOPLE = ("S1", "S2", "S3", "S4")
RATE = 30
TIME, ARM, LOCOMOTION = 0, (63, 64, 65), 243
LONGEST_GAP = 0.5
"""Longest gap within a stretch, in seconds; our choice."""

_NAME = re.compile(r"(S[1-4])-(?:ADL\d|Drill)\.dat")


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows of the four people; HarnetError if one is missing or a file is malformed."""
    made = Windows(cutting, list(ACTIVITIES.values()))
    paths = [path for path in sorted(folder.rglob("S?-*.dat")) if _NAME.fullmatch(path.name)]
    people = {path: path.name[:2] for path in paths}
    if paths and (absent := sorted(set(PEOPLE) - set(people.values()))):
        raise HarnetError(f"{folder}: no dataset/{absent[0]}-ADL1.dat: fetch the complete data set again")
    for path in paths:
        try:
            table = np.loadtxt(path, usecols=(TIME, *ARM, LOCOMOTION), ndmin=2)
        except (ValueError, IndexError) as error:
            raise HarnetError(f"{path}: expected 250 numbers per line ({error})") from error
        labels = np.full(len(table), UNLABELLED)
        for index, code in enumerate(ACTIVITIES):
            labels[table[:, 4] == code] = index
        for part in stretches(table[:, 0] / 1000, LONGEST_GAP):
            made.add(people[path], table[part, 1:4] / 1000, labels[part], RATE)
    return made.finish(str(folder), "dataset/S1-ADL1.dat and so on of Opportunity")
