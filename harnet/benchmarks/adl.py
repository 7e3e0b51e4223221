"""ADL: "Dataset for ADL Recognition with Wrist-worn Accelerometer" (Bruno et al. 2013, UCI repository, HMP_Dataset).

One text file a trial, `<Activity>/Accelerometer-<date>-<activity>-<subject>.txt`, 32 Hz, three codes 0..63 a line;
g = -1.5 + 3 · code / 63, from the data set's MANUAL. People and classes as Yuan et al. 2024 keep them.
"""

import argparse
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from harnet.console import exit_with, guarded
from harnet.errors import HarnetError

PEOPLE = ("f1", "f2", "f3", "m1", "m2", "m3", "m4")
CLASSES = ("climb_stairs", "drink_glass", "pour_water", "walk", "getup_bed")
RATE = 32
SECONDS, STEP_SECONDS = 10, 5

_NAME = re.compile(r"Accelerometer-[\d-]+-(?P<activity>[a-z_]+)-(?P<person>[fm]\d+)\.txt")


def labelled_windows(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]:
    """Ten-second windows every five seconds, resampled from 320 to 300 samples: X (N, 3, 300) in g, Y (N,), pid (N,).

    Raises:
        HarnetError: the folder holds no trial of these people and classes, or a file is not of the known form.
    """
    windows, labels, people = [], [], []
    for path in sorted(folder.glob("*/Accelerometer-*.txt")):
        match = _NAME.fullmatch(path.name)
        if match is None or match["person"] not in PEOPLE or match["activity"] not in CLASSES:
            continue
        signal = _read(path)
        for start in range(0, len(signal) - SECONDS * RATE + 1, STEP_SECONDS * RATE):
            window = signal[start : start + SECONDS * RATE]
            # Padded by a line through the ends: with zeros, gravity would ring at both ends of every window.
            windows.append(resample_poly(window, 15, 16, axis=0, padtype="line").T)
            labels.append(match["activity"])
            people.append(match["person"])
    if not windows:
        raise HarnetError(
            f"{folder}: no trial of ADL in it; expected <Activity>/Accelerometer-<date>-<activity>-<subject>.txt"
        )
    return np.stack(windows).astype(np.float32), np.array(labels), np.array(people)


def _read(path: Path) -> NDArray[np.floating]:
    """(n, 3) in g."""
    try:
        codes = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise HarnetError(f"{path}: not three whole numbers a line ({error})") from error
    if codes.shape[1] != 3 or codes.min() < 0 or codes.max() > 63:
        raise HarnetError(f"{path}: expected three codes from 0 to 63 a line")
    return -1.5 + 3.0 * codes / 63.0


def main() -> int:
    """Write X.npy, Y.npy and pid.npy."""
    parser = argparse.ArgumentParser(
        prog="python -m harnet.benchmarks.adl",
        description="ADL trials to labelled windows. Example: python -m harnet.benchmarks.adl HMP_Dataset adl/",
    )
    parser.add_argument("folder", type=Path, help="folder with one sub-folder an activity")
    parser.add_argument("out", type=Path, help="folder for X.npy, Y.npy and pid.npy")
    arguments = parser.parse_args()
    windows, labels, people = labelled_windows(arguments.folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, array in (("X", windows), ("Y", labels), ("pid", people)):
        np.save(arguments.out / f"{name}.npy", array)
    hours = len(windows) * STEP_SECONDS / 3600
    print(
        f"{arguments.out}: {len(windows)} windows, {len(set(people))} people, {len(set(labels))} classes, {hours:.2f} h"
    )
    return 0


if __name__ == "__main__":
    exit_with(lambda: guarded("adl", "transfer", main))
