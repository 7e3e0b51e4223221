"""The packaged activity classifier: five classes, trained on two data sets; and its scores on people not trained on.

A regularised linear classifier on the frozen encoder's features and handcrafted features. Training windows are rotated
at random, so that it does not matter which way round a device is worn or how its axes are named; this and the penalty
were chosen on DSADS. It is evaluated in two ways, both on people that it was not trained on: in ten folds of people,
and trained on one data set and tested on the other, which has other people and another device.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harnet import handcrafted
from harnet.datasets.cutting import WindowCutting
from harnet.datasets.registry import find
from harnet.encoder import SEVERAL_STAGES, Encoder
from harnet.errors import HarnetError
from harnet.evaluation.arms import encode
from harnet.evaluation.linear import coefficients
from harnet.evaluation.right_angles import rotated
from harnet.evaluation.scores import Interval, interval
from harnet.transfer.folds import people_folds
from harnet.transfer.metrics import score_person

NAME = "activity-open"
"""Name of the classifier in the package."""
CLASSES = ("lying", "sitting_or_standing", "walking", "stairs", "running")
"""Classes in the order of the outputs. Sitting and standing are one: they are hard to tell apart at the wrist."""

_STILL = {"sitting": "sitting_or_standing", "standing": "sitting_or_standing"}
LABELS: dict[str, dict[str, str]] = {
    "selfback": {
        **_STILL, "lying": "lying", "walk_slow": "walking", "walk_mod": "walking", "walk_fast": "walking",
        "jogging": "running", "upstairs": "stairs", "downstairs": "stairs",
    },
    "dsads-wrists": {
        **_STILL, "lying on back": "lying", "lying on right side": "lying", "walking in parking lot": "walking",
        "walking treadmill 4 km/h flat": "walking", "walking treadmill 4 km/h 15 deg": "walking",
        "running treadmill 8 km/h": "running", "ascending stairs": "stairs", "descending stairs": "stairs",
    },
}  # fmt: skip
"""Data set -> its label -> class. Labels without a class are left out: lifts, cycling, rowing, jumping, gym machines,
basketball."""
STRENGTH = 0.01
"""λ, chosen on DSADS with people held out; see `harnet.evaluation.linear`."""
FOLDS = 10
SEED = 0
"""Seed of the folds and of the rotations."""


@dataclass(frozen=True)
class Activities:
    """Windows of one or more data sets, labelled with the five classes."""

    features: NDArray[np.float32]
    """(N, F) handcrafted features, then those of the encoder."""
    turned: NDArray[np.float32]
    """(N, F) features of the same windows, each rotated by right angles, for training."""
    labels: NDArray[np.int64]
    """(N,) index into `CLASSES`."""
    people: NDArray[np.str_]
    """(N,) "DATASET:PERSON"; both wrists of a person count as one person."""

    def of(self, rows: NDArray[np.bool_]) -> "Activities":
        """The windows where `rows` is True."""
        return Activities(self.features[rows], self.turned[rows], self.labels[rows], self.people[rows])

    def from_set(self, name: str) -> NDArray[np.bool_]:
        """(N,) whether a window is from this data set."""
        return np.char.startswith(self.people, f"{name}:")


@dataclass(frozen=True)
class Scores:
    """Scores of a classifier on people that it was not trained on."""

    macro_f1: Interval
    """Mean over people of macro F1, with its interval."""
    handmade: Interval
    """The same with handcrafted features only."""
    classes: tuple[float, ...]
    """F1 of each class over all windows."""


def read(data: Path, encoder: Encoder, device: str = "cpu") -> Activities:
    """Non-overlapping windows of the data sets in `data`; HarnetError if one is missing."""
    found = []
    for name, classes in LABELS.items():
        if not (data / name).is_dir():
            raise HarnetError(f"{data / name}: missing: the classifier learns from {' and '.join(LABELS)}")
        labelled = find(name).read(data / name, WindowCutting(encoder.architecture.seconds, overlap=False))
        kept = np.isin(labelled.labels, list(classes))
        windows = labelled.windows[kept]
        labels = np.array([CLASSES.index(classes[label]) for label in labelled.labels[kept].tolist()], np.int64)
        people = np.char.add(f"{name}:", labelled.people[kept])
        found.append(
            Activities(
                _features(encoder, windows, device), _features(encoder, rotated(windows, SEED), device), labels, people
            )
        )
        for line in (f"{name}: {len(labels):,} windows of {len(set(people.tolist()))} people", *labelled.notes):
            print(line, flush=True)
    return Activities(*(np.concatenate([getattr(one, part) for one in found]) for part in
                        ("features", "turned", "labels", "people")))  # fmt: skip


def _features(encoder: Encoder, windows: NDArray[np.float32], device: str) -> NDArray[np.float32]:
    """(N, F) features, as `harnet.linear_probe.LinearProbe` computes them."""
    of_encoder = encode(encoder, torch.from_numpy(windows), device, SEVERAL_STAGES)
    return np.concatenate([handcrafted.features(windows), of_encoder], axis=1)


def fit(
    learnt: Activities, columns: slice = slice(None), threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a classifier to these features; returns W (5, F) and b (5,) of its logits."""
    return coefficients(learnt.turned[:, columns], learnt.labels, True, STRENGTH, threads)


def evaluate(
    activities: Activities, threads: int = 1, on_fit: Callable[[], object] = lambda: None
) -> dict[str, Scores]:
    """The scores of both evaluations, by a human-readable title."""
    names = list(LABELS)
    titles = {name: find(name).title.split(",")[0].split(" (")[0] for name in names}
    folds = people_folds(activities.people, FOLDS, SEED)
    splits = {("people left out", "all"): [np.isin(activities.people, held) for held in folds]}
    for name in names:
        splits[("trained on the other data set alone", name)] = [activities.from_set(name)]
    scores = {}
    for (way, tested), held_out in splits.items():
        predicted = {kind: np.full(len(activities.labels), -1) for kind in ("both", "handmade")}
        for held in held_out:
            for kind, columns in (("both", slice(None)), ("handmade", slice(len(handcrafted.names())))):
                weight, bias = fit(activities.of(~held), columns, threads)
                predicted[kind][held] = (activities.features[held][:, columns] @ weight.T + bias).argmax(axis=1)
            on_fit()
        for name in names if tested == "all" else [tested]:
            scores[f"{titles[name]}, {way}"] = _scores(activities, activities.from_set(name), predicted)
    return scores


def _scores(found: Activities, rows: NDArray[np.bool_], predicted: Mapping[str, NDArray[np.int64]]) -> Scores:
    people, truth = found.people[rows], found.labels[rows]
    by_person = {
        kind: interval({
            person: score_person(person, truth[people == person], values[rows][people == person]).macro_f1
            for person in np.unique(people).tolist()
        })
        for kind, values in predicted.items()
    }  # fmt: skip
    hits = [((truth == n) & (predicted["both"][rows] == n)).sum() for n in range(len(CLASSES))]
    either = [(truth == n).sum() + (predicted["both"][rows] == n).sum() for n in range(len(CLASSES))]
    f1 = tuple(2 * int(hit) / max(int(total), 1) for hit, total in zip(hits, either, strict=True))
    return Scores(by_person["both"], by_person["handmade"], f1)
