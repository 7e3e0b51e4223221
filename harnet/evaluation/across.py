"""Cross-dataset evaluation: train on the people and devices of one data set, test on those of another.

Data sets name activities differently and in fine detail, so a table maps their labels to four classes that most of
them share. Labels that are not in the table, such as cycling, are excluded.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harnet.datasets.parsed_dataset import FACTS
from harnet.errors import HarnetError
from harnet.evaluation.right_angles import rotated
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
"""Data set, as named by `harnet dataset` -> class -> labels of the data set."""
ROTATION_SEED = 0
"""Seed of the rotations of training windows, the same for every arm."""


@dataclass(frozen=True)
class Across:
    """Two folders of labelled windows, restricted to the classes that both have."""

    train_on: str
    """Name of the folder to train on."""
    test_on: str
    """Name of the folder to test on."""
    rotated: bool = True
    """Whether the windows to train on are rotated by right angles; those to test on never are."""

    @property
    def name(self) -> str:
        """Name of the pair, in place of a data set's name."""
        return f"{self.train_on}-to-{self.test_on}"

    def read(self, data: Path, architecture: str) -> LabelledWindows:
        """Windows of both data sets, with mapped classes and people prefixed with the folder's name.

        HarnetError if a data set is not in the table, or if fewer than two classes are common to both.
        """
        parts = [_mapped(data / name, architecture) for name in (self.train_on, self.test_on)]
        if self.rotated:
            parts[0] = replace(parts[0], windows=rotated(parts[0].windows, ROTATION_SEED))
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
        facts = [*classes, *(part.digest for part in parts), *(["rotated by right angles"] if self.rotated else [])]
        digest = hashlib.sha256("\n".join(facts).encode())
        return LabelledWindows(
            np.concatenate([part.windows[rows] for part, rows in zip(parts, kept, strict=True)]),
            np.searchsorted(classes, np.concatenate(names)).astype(np.int64),
            np.concatenate(people),
            tuple(classes),
            digest.hexdigest(),
        )

    def split(self, data: LabelledWindows) -> Split:
        """All people of the second data set are tested; a fifth of the first one's people are for validation."""
        tested = np.char.startswith(data.people, f"{self.test_on}:")
        held = set_aside(data.people[~tested], VALIDATION_SHARE, FOLD_SEED)
        learnt = sorted(set(data.people[~tested].tolist()) - set(held))
        return Split(tuple(learnt), tuple(sorted(held)), tuple(sorted(set(data.people[tested].tolist()))))

    def described(self, data: Path) -> dict[str, Any]:
        """Metadata of both data sets, for the report."""
        both = [{"title": name, **_facts(data / name)} for name in (self.train_on, self.test_on)]
        keys = ("title", "device", "source", "licence")
        described = {key: " → ".join(facts.get(key, "unknown") for facts in both) for key in keys}
        return {**described, "training_windows": "rotated by right angles" if self.rotated else "as recorded"}


def _mapped(folder: Path, architecture: str) -> LabelledWindows:
    """The windows whose label is in the table, relabelled with the table's classes."""
    name = _facts(folder).get("name", folder.name)
    if name not in CLASSES:
        raise HarnetError(f"{folder}: no class mapping for data set {name!r}; known: {', '.join(CLASSES)}")
    found = read_windows(folder, architecture)
    classes = sorted(CLASSES[name])
    place = {label: classes.index(one) for one, labels in CLASSES[name].items() for label in labels}
    mapped = np.array([place.get(label, -1) for label in found.classes])[found.labels]
    rows = mapped >= 0
    present = np.unique(mapped[rows])
    return replace(
        found,
        windows=found.windows[rows],
        labels=np.searchsorted(present, mapped[rows]).astype(np.int64),
        people=found.people[rows],
        classes=tuple(classes[index] for index in present),
    )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    return json.loads(path.read_text()) if path.is_file() else {}
