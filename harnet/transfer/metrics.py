"""Scores per person, and their mean over people: each person counts once, however many windows they have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score


@dataclass(frozen=True)
class PersonScore:
    """How well one person's windows were classified by a model that never saw that person."""

    person: str
    """Pseudonym."""
    windows: int
    """Number of the person's windows."""
    macro_f1: float
    """Mean F1 over the classes that occur in this person's truth or predictions.

    A class that occurs in neither is excluded; one that was predicted but never occurs in the truth counts as 0.
    """
    kappa: float | None
    """Cohen's kappa; None if truth and predictions are all the same single class, for which it is 0/0."""


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1) over people."""

    people: int
    """Number of people scored."""
    macro_f1: float
    """Mean of the people's macro F1."""
    macro_f1_std: float
    """Its standard deviation over people."""
    kappa: float
    """Mean kappa of the people whose kappa is defined; 0 if there are none."""
    kappa_std: float
    """Its standard deviation over people."""


def score_person(person: str, truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> PersonScore:
    """Score the windows of one person; `truth` and `predicted` are (n,) class indices."""
    present = np.union1d(truth, predicted)
    f1 = f1_score(truth, predicted, labels=present, average="macro", zero_division=0.0)
    kappa = float(cohen_kappa_score(truth, predicted)) if len(present) > 1 else None
    return PersonScore(person, len(truth), float(f1), kappa)


def summarise(scores: list[PersonScore]) -> Summary:
    """Summarise the scores of all people of all folds."""
    kappas = [score.kappa for score in scores if score.kappa is not None]
    return Summary(len(scores), *_mean_std([score.macro_f1 for score in scores]), *_mean_std(kappas))


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> list[list[int]]:
    """Confusion matrix in windows, (classes, classes): rows are true classes, columns predicted classes."""
    counts: list[list[int]] = confusion_matrix(truth, predicted, labels=range(classes)).tolist()
    return counts


def _mean_std(values: list[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
