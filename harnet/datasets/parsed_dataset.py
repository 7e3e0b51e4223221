"""The output of every data-set parser, and how it is saved: the three files that `read_windows` reads."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError
from harnet.files import atomic_path, write_atomically

FACTS = "dataset.json"
"""File beside X.npy, Y.npy and pid.npy that records where the windows come from."""


@dataclass(frozen=True)
class ParsedDataset:
    """Labelled windows of one data set."""

    windows: NDArray[np.float32]
    """(N, 3, L) in g at 30 Hz."""
    labels: NDArray[np.str_]
    """(N,) activity labels."""
    people: NDArray[np.str_]
    """(N,) pseudonym of the wearer."""
    seconds: float
    """Seconds of signal covered by the windows; overlap counts once."""
    notes: tuple[str, ...] = ()
    """What was excluded and why, one line each."""

    def summary(self) -> list[str]:
        """Human-readable summary: people, windows, hours, labels and notes, as lines."""
        counts = Counter(self.labels.tolist())
        shares = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
        first = (
            f"{len(set(self.people.tolist())):,} people, {len(self.windows):,} windows, "
            f"{self.seconds / 3600:,.2f} h, {len(counts)} labels"
        )
        return [first, f"labels: {shares}", *self.notes]


def save(found: ParsedDataset, folder: Path, facts: dict[str, str]) -> None:
    """Write X.npy, Y.npy, pid.npy and `dataset.json`; HarnetError if the folder contains anything else.

    `facts` are the name, title, device, source and licence of the data set.
    """
    names = {"X.npy", "Y.npy", "pid.npy", FACTS}
    if folder.exists() and (not folder.is_dir() or any(path.name not in names for path in folder.iterdir())):
        raise HarnetError(f"{folder}: contains files other than labelled windows: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    # Readers recognise a data set by X.npy, so it is written last.
    (folder / "X.npy").unlink(missing_ok=True)
    for name, array in (("Y", found.labels), ("pid", found.people), ("X", found.windows)):
        with atomic_path(folder / f"{name}.npy") as path, path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    text = {**facts, "seconds": round(found.seconds, 3), "notes": list(found.notes)}
    write_atomically(folder / FACTS, json.dumps(text, indent=1) + "\n")
