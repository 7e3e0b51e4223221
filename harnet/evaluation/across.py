"""Across data sets: learnt from the people and devices of one, tested on those of another.

Data sets name activities differently and finely, so a table says which of them are one of four that most have. What is
in no class of the table, such as cycling, is left out.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harnet.datasets.parsed_dataset import FACTS
from harnet.errors import HarnetError
from harnet.evaluation.splits import FOLD_SEED, VALIDATION_SHARE, Split
from harnet.transfer.folds import set_aside
from harnet.transfer.labelled_windows import LabelledWindows, read_windows

CLASSES: dict[str, dict[str, tuple[str, ...]]] = {
    "selfback": {
        "walk": ("walk_slow", "walk_mod", "walk_fast"),
        "run": ("jogging",),
        "stairs": ("upstairs", "downstairs"),
        "still": ("lying", "sitting", "standing"),
    },
    "dsads": {
        "walk": ("walking in parking lot", "walking treadmill 4 km/h flat", "walking treadmill 4 km/h 15 deg"),
        "run": ("running treadmill 8 km/h",),
        "stairs": ("ascending stairs", "descending stairs"),
        "still": ("lying on back", "lying on right side", "sitting", "standing"),
    },
    "realworld": {
        "walk": ("walking",),
        "run": ("running",),
        "stairs": ("climbingup", "climbingdown"),
        "still": ("lying", "sitting", "standing"),
    },
    "wisdm": {"walk": ("walking",), "run": ("jogging",), "stairs": ("stairs",), "still": ("sitting", "standing")},
    "pamap2": {
        "walk": ("walking",),
        "stairs": ("ascending stairs", "descending stairs"),
        "still": ("lying", "sitting", "standing"),
    },
}
"""Data set, by the name that `harnet dataset` gives it -> class -> its labels."""


@dataclass(frozen=True)
class Across:
    """Two folders of labelled windows; of classes, those that both have."""

    train_on: str
    """Name of the folder to learn from."""
    test_on: str
    """Name of the folder to test on."""

    @property
    def name(self) -> str:
        """Of the two together, where one data set has its name."""
        return f"{self.train_on}-to-{self.test_on}"

    def read(self, data: Path, architecture: str) -> LabelledWindows:
        """The windows of both, classes mapped and people named after their data set.

        HarnetError if the table does not know a data set, or if they have fewer than two classes in common.
        """
        parts = [_mapped(data / name, architecture) for name in (self.train_on, self.test_on)]
        classes = sorted(set.intersection(*(set(part.classes) for part in parts)))
        if len(classes) < 2:
            raise HarnetError(f"{self.train_on} and {self.test_on} have {len(classes)} classes in common: at least two "
                              "are needed")  # fmt: skip
        kept = [np.isin(np.array(part.classes)[part.labels], classes) for part in parts]
        names = [np.array(part.classes)[part.labels][rows] for part, rows in zip(parts, kept, strict=True)]
        people = [
            np.char.add(f"{name}:", part.people[rows])
            for name, part, rows in zip((self.train_on, self.test_on), parts, kept, strict=True)
        ]
        digest = hashlib.sha256("\n".join([*classes, *(part.digest for part in parts)]).encode())
        return LabelledWindows(
            np.concatenate([part.windows[rows] for part, rows in zip(parts, kept, strict=True)]),
            np.searchsorted(classes, np.concatenate(names)).astype(np.int64),
            np.concatenate(people),
            tuple(classes),
            digest.hexdigest(),
        )

    def split(self, data: LabelledWindows) -> Split:
        """Everybody of the second data set is tested; a fifth of the first one's people stop the training."""
        tested = np.char.startswith(data.people, f"{self.test_on}:")
        held = set_aside(data.people[~tested], VALIDATION_SHARE, FOLD_SEED)
        learnt = sorted(set(data.people[~tested].tolist()) - set(held))
        return Split(tuple(learnt), tuple(sorted(held)), tuple(sorted(set(data.people[tested].tolist()))))

    def described(self, data: Path) -> dict[str, Any]:
        """What is known of both, for the page."""
        both = [{"title": name, **_facts(data / name)} for name in (self.train_on, self.test_on)]
        keys = ("title", "device", "source", "licence")
        return {key: " → ".join(facts.get(key, "unknown") for facts in both) for key in keys}


def _mapped(folder: Path, architecture: str) -> LabelledWindows:
    """The windows whose label is in a class of the table, with these classes."""
    name = _facts(folder).get("name", folder.name)
    if name not in CLASSES:
        raise HarnetError(f"{folder}: data set {name!r} is not in the table of classes; it has {', '.join(CLASSES)}")
    found = read_windows(folder, architecture)
    classes = sorted(CLASSES[name])
    place = {label: classes.index(one) for one, labels in CLASSES[name].items() for label in labels}
    mapped = np.array([place.get(label, -1) for label in found.classes])[found.labels]
    rows = mapped >= 0
    there = np.unique(mapped[rows])
    return replace(
        found,
        windows=found.windows[rows],
        labels=np.searchsorted(there, mapped[rows]).astype(np.int64),
        people=found.people[rows],
        classes=tuple(classes[index] for index in there),
    )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    return json.loads(path.read_text()) if path.is_file() else {}
