"""ADL: "Dataset for ADL Recognition with Wrist-worn Accelerometer" (Bruno et al. 2013, UCI repository, HMP_Dataset).

One text file per trial, `<Activity>/Accelerometer-<date>-<activity>-<subject>.txt`, 32 Hz, three codes 0..63 per line;
g = -1.5 + 3 · code / 63, from the data set's MANUAL. People and classes as selected by Yuan et al. 2024.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.datasets.cutting import WindowCutting, Windows
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

PEOPLE = ("f1", "f2", "f3", "m1", "m2", "m3", "m4")
CLASSES = ("climb_stairs", "drink_glass", "getup_bed", "pour_water", "walk")
RATE = 32

_NAME = re.compile(r"Accelerometer-[\d-]+-(?P<activity>[a-z_]+)-(?P<person>[fm]\d+)\.txt")
_EXPECTED = "a trial of ADL: <Activity>/Accelerometer-<date>-<activity>-<subject>.txt"


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows of the seven people and five classes; HarnetError if a person is missing or a file is malformed."""
    made = Windows(cutting, CLASSES)
    for path in sorted(folder.rglob("Accelerometer-*.txt")):
        match = _NAME.fullmatch(path.name)
        # The UCI copy contains the trials of some classes twice, again under <Activity>_MODEL.
        if match is None or path.parent.name.endswith("_MODEL"):
            continue
        if match["person"] in PEOPLE and match["activity"] in CLASSES:
            made.add(match["person"], _read(path), CLASSES.index(match["activity"]), RATE)
    found = made.finish(str(folder), _EXPECTED)
    if absent := sorted(set(PEOPLE) - set(found.people.tolist())):
        raise HarnetError(f"{folder}: no trial of {', '.join(absent)}: fetch the complete data set again")
    return found


def _read(path: Path) -> NDArray[np.floating]:
    """(n, 3) in g."""
    try:
        codes = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise HarnetError(f"{path}: expected three integers per line ({error})") from error
    if codes.shape[1] != 3 or codes.min() < 0 or codes.max() > 63:
        raise HarnetError(f"{path}: expected three codes from 0 to 63 per line")
    return -1.5 + 3.0 * codes / 63.0
