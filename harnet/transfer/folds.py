"""Splitting people, never windows, into folds: a person's windows resemble each other far more than other people's."""

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError


def people_folds(people: NDArray[np.str_], count: int | None, seed: int) -> tuple[tuple[str, ...], ...]:
    """The test people of each fold; every person is in exactly one fold.

    `people` (N,) is the wearer of each window. With `count` None one person is left out at a time, in sorted order;
    otherwise the people are shuffled with `seed` and split into `count` folds whose sizes differ by at most one. Only
    the set of people matters, not the order of their windows. HarnetError if there are fewer people than folds.
    """
    names = np.unique(people)
    if count is None:
        return tuple((str(name),) for name in names)
    if not 2 <= count <= len(names):
        raise HarnetError(f"folds {count}: must be from 2 to the number of people, {len(names)}")
    shuffled = np.random.default_rng(seed).permutation(names)
    return tuple(tuple(sorted(str(name) for name in part)) for part in np.array_split(shuffled, count))


def set_aside(people: NDArray[np.str_], share: float, seed: int) -> tuple[str, ...]:
    """Training people held out for early stopping: a `share` of them, at least one, drawn with `seed`.

    `people` (N,) is the wearer of each training window. HarnetError if there is only one person.
    """
    names = np.unique(people)
    if len(names) < 2:
        raise HarnetError("patience: only one training person, nobody can be held out: omit patience")
    count = min(max(1, round(share * len(names))), len(names) - 1)
    return tuple(str(name) for name in np.random.default_rng(seed).permutation(names)[:count])
