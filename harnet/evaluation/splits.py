"""People to train on, to stop by, and to test on: never the same person in two of the three."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from harnet.errors import HarnetError
from harnet.evaluation.protocols import FEW_PEOPLE, Protocol
from harnet.transfer.folds import people_folds

VALIDATION_SHARE = 0.2
"""Of the people who are not tested, where one person is left out."""
SPLIT = (0.7, 0.1, 0.2)
"""Training, validation, test of the published splits."""
FOLD_SEED = 2024
"""Deals people into folds; the same for every protocol and everybody."""


@dataclass(frozen=True)
class Split:
    """One fold."""

    train: tuple[str, ...]
    """People whose windows are learnt from."""
    validation: tuple[str, ...]
    """People by whom early stopping decides."""
    test: tuple[str, ...]
    """People who are scored."""

    def __post_init__(self) -> None:
        everybody = [*self.train, *self.validation, *self.test]
        assert len(set(everybody)) == len(everybody), "a person is in two parts of a split"
        assert all((self.train, self.validation, self.test)), "a part of a split is empty"


def make_splits(people: list[str], protocol: Protocol, folds: tuple[tuple[str, ...], ...]) -> tuple[Split, ...]:
    """The splits of a data set with these people; `folds` are its fixed folds.

    HarnetError if there are fewer than three people: one each to train on, to stop by and to test on.
    """
    names = sorted(set(people))
    if len(names) < 3:
        raise HarnetError(
            f"{len(names)} people: a protocol needs three or more, to train on, to stop by and to test on"
        )
    if protocol.disjoint or len(names) <= FEW_PEOPLE:
        return tuple(_around(folds, number) for number in range(len(folds)))
    return tuple(_drawn(names, number) for number in range(protocol.splits))


def fixed_folds(dataset: str, people: list[str]) -> tuple[tuple[tuple[str, ...], ...], str]:
    """The test folds of a data set and where they come from.

    The file of that name that is shipped, if it has exactly these people; else they are dealt by `FOLD_SEED`, one
    person a fold up to `FEW_PEOPLE`, and into five beyond.
    """
    names = sorted(set(people))
    shipped = resources.files("harnet.evaluation") / "folds" / f"{Path(dataset).name}.json"
    if shipped.is_file():
        folds = tuple(tuple(fold) for fold in json.loads(shipped.read_text()))
        if sorted(name for fold in folds for name in fold) == names:
            return folds, f"shipped file folds/{shipped.name}"
    return deal(names), f"dealt by seed {FOLD_SEED}"


def deal(names: list[str]) -> tuple[tuple[str, ...], ...]:
    """People into folds: shuffled, one a fold if they are few, five folds otherwise."""
    count = len(names) if len(names) <= FEW_PEOPLE else 5
    return people_folds(np.array(names), count, FOLD_SEED)


def _around(folds: tuple[tuple[str, ...], ...], number: int) -> Split:
    """Fold `number` is tested, the ones after it validate, the rest trains."""
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
