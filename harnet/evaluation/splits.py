"""Splitting people into training, validation and test sets; no person is ever in two of them."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from harnet.errors import HarnetError
from harnet.evaluation.protocols import FEW_PEOPLE, Protocol
from harnet.transfer.folds import people_folds

VALIDATION_SHARE = 0.2
"""Validation share of the people who are not tested, for fixed folds."""
SPLIT = (0.7, 0.1, 0.2)
"""Training, validation and test shares of the published splits."""
FOLD_SEED = 2024
"""Seed that assigns people to folds; the same for every protocol and user."""


@dataclass(frozen=True)
class Split:
    """One fold."""

    train: tuple[str, ...]
    """People to train on."""
    validation: tuple[str, ...]
    """People used for early stopping."""
    test: tuple[str, ...]
    """People to test on."""

    def __post_init__(self) -> None:
        everybody = [*self.train, *self.validation, *self.test]
        assert len(set(everybody)) == len(everybody), "a person is in two parts of a split"
        assert all((self.train, self.validation, self.test)), "a part of a split is empty"


def make_splits(people: list[str], protocol: Protocol, folds: tuple[tuple[str, ...], ...]) -> tuple[Split, ...]:
    """The splits of a data set with these people; `folds` are its fixed test folds.

    HarnetError if there are fewer than three people: training, validation and test need one each.
    """
    names = sorted(set(people))
    if len(names) < 3:
        raise HarnetError(f"{len(names)} people: a protocol needs at least three, for training, validation and test")
    if protocol.disjoint or len(names) <= FEW_PEOPLE:
        return tuple(_around(folds, number) for number in range(len(folds)))
    return tuple(_drawn(names, number) for number in range(protocol.splits))


def fixed_folds(dataset: str, people: list[str]) -> tuple[tuple[tuple[str, ...], ...], str]:
    """The test folds of a data set and a description of their origin.

    Uses the shipped file of that name if it contains exactly these people. Otherwise people are assigned with
    `FOLD_SEED`: one person per fold for up to `FEW_PEOPLE` people, five folds for more.
    """
    names = sorted(set(people))
    shipped = resources.files("harnet.evaluation") / "folds" / f"{Path(dataset).name}.json"
    if shipped.is_file():
        folds = tuple(tuple(fold) for fold in json.loads(shipped.read_text()))
        if sorted(name for fold in folds for name in fold) == names:
            return folds, f"shipped file folds/{shipped.name}"
    return deal(names), f"dealt by seed {FOLD_SEED}"


def deal(names: list[str]) -> tuple[tuple[str, ...], ...]:
    """Assign people to folds at random: one per fold for up to `FEW_PEOPLE` people, otherwise five folds."""
    count = len(names) if len(names) <= FEW_PEOPLE else 5
    return people_folds(np.array(names), count, FOLD_SEED)


def _around(folds: tuple[tuple[str, ...], ...], number: int) -> Split:
    """Fold `number` is the test set, the folds after it are the validation set, the rest is the training set."""
    others = [*folds[number + 1 :], *folds[:number]]
    wanted = max(1, round(VALIDATION_SHARE * sum(map(len, others))))
    validation: list[str] = []
    while len(validation) < wanted and len(others) > 1:
        validation += others.pop(0)
    train = [name for fold in others for name in fold]
    return Split(tuple(sorted(train)), tuple(sorted(validation)), folds[number])


def _drawn(names: list[str], number: int) -> Split:
    shuffled = np.random.default_rng([FOLD_SEED, number]).permutation(names).tolist()
    test, validation = (max(1, round(share * len(names))) for share in (SPLIT[2], SPLIT[1]))
    parts = shuffled[test + validation :], shuffled[test : test + validation], shuffled[:test]
    return Split(*(tuple(sorted(part)) for part in parts))
