"""Logistic regression with an L2 penalty whose strength is chosen by cross-validation within the training people.

A linear classifier measures the quality of features better than a network on top of them: it has a unique solution,
needs no early stopping, and has one hyperparameter. That is chosen by inner cross-validation over training people
(Stone 1974), so no test person influences it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet.transfer.folds import people_folds
from harnet.transfer.metrics import score_person

STRENGTHS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
"""Candidate λ in: mean loss over windows + λ/2 · squared norm of the coefficients; features have unit deviation."""
STANDARD = 0.01
"""λ used if there is only one training person, so that cross-validation is impossible."""
INNER_FOLDS = 6
"""Number of inner folds, or the number of training people if smaller; with three, the choice was noisy on ADL."""
SEED = 0
"""Seed of the inner folds; the same for every arm, so that arms differ only in their features."""
MOST_ITERATIONS = 2000
PRECISE, ROUGH = 1e-4, 1e-3
"""Convergence tolerances (largest gradient component) of the final fit, and of the fits that choose λ, which take a
third of the time with the looser one."""


def classify(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    people: NDArray[np.str_],
    learnt: NDArray[np.int64],
    tested: NDArray[np.int64],
    balance: bool,
    threads: int = 1,
) -> tuple[NDArray[np.int64], float]:
    """Fit on the windows `learnt` and classify the windows `tested`; returns class indices (t,) and the chosen λ.

    Args:
        features: (N, F) features of all windows.
        labels: (N,) class indices.
        people: (N,) wearer of each window.
        learnt: (n,) indices of training windows.
        tested: (t,) indices of test windows.
        balance: weight windows by the inverse frequency of their class.
        threads: threads of the linear algebra; the last bits of the result depend on it.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        strength = choose_strength(features, labels, people, learnt, balance)
        (predicted,) = _path(features, labels, learnt, tested, balance, (strength,), PRECISE)
    return predicted, strength


def choose_strength(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    people: NDArray[np.str_],
    learnt: NDArray[np.int64],
    balance: bool,
) -> float:
    """The λ with the highest mean macro F1 per person over the inner folds; ties go to the strongest penalty."""
    count = len(np.unique(people[learnt]))
    if count < 2:
        return STANDARD
    scores: list[list[float]] = [[] for _ in STRENGTHS]
    for held in people_folds(people[learnt], min(INNER_FOLDS, count), SEED):
        outside = np.isin(people[learnt], held)
        trial, judged = learnt[~outside], learnt[outside]
        found = _path(features, labels, trial, judged, balance, STRENGTHS, ROUGH)
        for place, predicted in enumerate(found):
            for person in held:
                own = people[judged] == person
                scores[place].append(score_person(person, labels[judged][own], predicted[own]).macro_f1)
    return STRENGTHS[int(np.argmax([np.mean(each) for each in scores]))]


def coefficients(
    features: NDArray[np.float32], labels: NDArray[np.int64], balance: bool, strength: float, threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W (C, F) and b (C,) of the logits W · features + b, learnt from all windows.

    Args:
        features: (N, F), as they are: their scales are inside W and b.
        labels: (N,) class indices from 0 to C - 1, each of them there; C at least 3.
        balance: weigh windows by the inverse frequency of their class.
        strength: λ.
        threads: of the linear algebra, on which the last bits depend.
    """
    from threadpoolctl import threadpool_limits

    mean, deviation = _scale(features)
    with threadpool_limits(threads):
        model = _model(balance, ROUGH).set_params(C=1 / (strength * len(labels)))
        model.fit((features - mean) / deviation, labels)
    weight: NDArray[np.float64] = model.coef_ / deviation
    return weight, model.intercept_ - weight @ mean


def _path(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    learnt: NDArray[np.int64],
    tested: NDArray[np.int64],
    balance: bool,
    strengths: tuple[float, ...],
    tolerance: float,
) -> list[NDArray[np.int64]]:
    """Predictions (t,) for each strength, strongest first; each fit is warm-started from the previous one."""
    if len(np.unique(labels[learnt])) == 1:
        return [np.full(len(tested), labels[learnt[0]]) for _ in strengths]
    x, seen = _scaled(features[learnt], features[tested])
    model = _model(balance, tolerance)
    found = []
    for strength in strengths:
        model.set_params(C=1 / (strength * len(learnt))).fit(x, labels[learnt])
        found.append(model.predict(seen).astype(np.int64))
    return found


def _model(balance: bool, tolerance: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        class_weight="balanced" if balance else None, max_iter=MOST_ITERATIONS, warm_start=True, tol=tolerance
    )


def _scaled(
    learnt: NDArray[np.float32], tested: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standardise both by mean and deviation of the first; features that are constant there become about 0."""
    mean, deviation = _scale(learnt)
    return (learnt.astype(np.float64) - mean) / deviation, (tested - mean) / deviation


def _scale(learnt: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each feature; the deviation is infinite where the feature is constant."""
    first = learnt.astype(np.float64)
    mean, deviation = first.mean(axis=0), first.std(axis=0)
    deviation[deviation <= 1e-6] = np.inf
    return mean, deviation
