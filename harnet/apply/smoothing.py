"""Temporal smoothing of predictions: activities last longer than a window.

A hidden Markov model whose states are the classes and whose emissions are the classifier's probabilities (Bourlard and
Morgan 1994, "Connectionist Speech Recognition", chapter 7), decoded by the Viterbi algorithm (Rabiner 1989, section
III.B). These thirty lines replace a dependency: hmmlearn takes observations rather than state probabilities, and
other libraries bring a framework.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError

FLOOR = 1e-6
"""Lower bound of probabilities: one confident mistake of the classifier must not rule out a class."""


@dataclass(frozen=True)
class Smoother:
    """A hidden Markov model with the same probability of change at every window, uniform over the other classes."""

    mean_bout_seconds: float
    """Mean duration of a bout of one class in seconds."""
    step: int
    """Seconds between consecutive window starts."""

    def __post_init__(self) -> None:
        if not self.mean_bout_seconds > self.step:
            raise HarnetError(f"smoothing over {self.mean_bout_seconds:g} s: must be longer than the step between "
                              f"windows, {self.step} s")  # fmt: skip

    def smooth(self, starts: NDArray[np.int64], probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Most likely sequence of classes (n,), given the probability of each class (n, C) in each window.

        `starts` (n,) are increasing seconds; a new sequence begins wherever the step differs from `step`. The
        probabilities should come from training with balanced classes; otherwise the prior counts twice against rare
        classes.
        """
        classes = probabilities.shape[1]
        if classes == 1 or not len(starts):
            return np.zeros(len(starts), np.int64)
        emission = np.log(np.maximum(probabilities.astype(np.float64), FLOOR))
        change = self.step / self.mean_bout_seconds
        transition = np.full((classes, classes), np.log(change / (classes - 1)))
        np.fill_diagonal(transition, np.log1p(-change))
        breaks = np.flatnonzero(np.diff(starts) != self.step) + 1
        return np.concatenate([_viterbi(part, transition) for part in np.split(emission, breaks)])


def _viterbi(emission: NDArray[np.float64], transition: NDArray[np.float64]) -> NDArray[np.int64]:
    """The path (n,) with the highest log-likelihood through emissions (n, C), from a uniform initial distribution."""
    back = np.zeros(emission.shape, np.int64)
    score = emission[0]
    for place in range(1, len(emission)):
        reached = score[:, None] + transition
        back[place] = reached.argmax(axis=0)
        score = reached.max(axis=0) + emission[place]
    path = np.empty(len(emission), np.int64)
    path[-1] = score.argmax()
    for place in range(len(emission) - 1, 0, -1):
        path[place - 1] = back[place, path[place]]
    return path
