"""Logistic regression with an L2 penalty whose strength is chosen by cross-validation within the training people.

A linear classifier measures the quality of features better than a network on top of them: it has a unique solution,
needs no early stopping, and has one hyperparameter. That is chosen by inner cross-validation over training people
(Stone 1974), so no test person influences it.
"""

import numpy as np
from numpy.typing import NDArray

from harnet.evaluation.softmax_regression import EXCLUDED, fit_path
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
PRECISE, ROUGH = 3e-4, 3e-3
"""Tolerances of `fit_path`: of the final fit, and of the fits that choose λ, which take a third of the time."""


def classify(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    people: NDArray[np.str_],
    learnt: NDArray[np.int64],
    tested: NDArray[np.int64],
    balance: bool,
    threads: int = 1,
) -> tuple[NDArray[np.float32], float]:
    """Fit on the windows `learnt` and classify the windows `tested`.

    Returns log-probabilities (t, C), C being the largest label plus one, and the chosen λ.

    Args:
        features: (N, F) features of all windows.
        labels: (N,) class indices.
        people: (N,) wearer of each window.
        learnt: (n,) indices of training windows.
        tested: (t,) indices of test windows.
        balance: weight windows by the inverse frequency of their class.
        threads: threads of the linear algebra; the last bits of the result depend on it.
    """
    from scipy.special import log_softmax
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        strength = choose_strength(features, labels, people, learnt, balance)
        weight, bias = _fit(features[learnt], labels[learnt], balance, strength)
        # The largest labels may be absent from the training windows.
        logits = np.full((len(tested), labels.max() + 1), EXCLUDED, np.float64)
        logits[:, : len(bias)] = features[tested] @ weight.T + bias
    return log_softmax(logits, axis=1).astype(np.float32), strength


def choose_strength(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    people: NDArray[np.str_],
    learnt: NDArray[np.int64],
    balance: bool,
) -> float:
    """The λ with the highest mean macro F1 per person over the inner folds; ties go to the strongest penalty."""
    x, own, wearers = _scaled(features[learnt]), labels[learnt], people[learnt]
    count = len(np.unique(wearers))
    if count < 2:
        return STANDARD
    folds = people_folds(wearers, min(INNER_FOLDS, count), SEED)
    fold = np.argmax([np.isin(wearers, held) for held in folds], axis=0)
    weights = np.stack([_weights(own, fold != number, balance) for number in range(len(folds))], axis=1)
    means = []
    for weight, bias in fit_path(x, own, weights, STRENGTHS, [ROUGH] * len(STRENGTHS)):
        predicted = np.full(len(own), -1)
        for number in range(len(folds)):
            held = fold == number
            predicted[held] = (x[held] @ weight[:, number].astype(np.float32) + bias[number]).argmax(axis=1)
        scores = [
            score_person(person, own[wearers == person], predicted[wearers == person]).macro_f1
            for person in np.unique(wearers).tolist()
        ]
        means.append(np.mean(scores))
    return STRENGTHS[int(np.argmax(means))]


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

    with threadpool_limits(threads):
        return _fit(features, labels, balance, strength)


def _fit(
    features: NDArray[np.float32], labels: NDArray[np.int64], balance: bool, strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W (C, F) and b (C,) for unscaled features, reached through the stronger penalties of `STRENGTHS`."""
    mean, deviation = _scale(features)
    path = [*(one for one in STRENGTHS if one > strength), strength]
    weights = _weights(labels, np.ones(len(labels), bool), balance)[:, None]
    tolerances = [*[ROUGH] * (len(path) - 1), PRECISE]
    *_, (weight, bias) = fit_path(_scaled(features), labels, weights, path, tolerances)
    unscaled: NDArray[np.float64] = weight[:, 0].T / deviation
    return unscaled, bias[0] - unscaled @ mean


def _weights(labels: NDArray[np.int64], used: NDArray[np.bool_], balance: bool) -> NDArray[np.float32]:
    """(N,) weights of the windows, which sum to 1 over the `used` ones; with `balance` each class has the same sum."""
    counts = np.bincount(labels[used], minlength=labels.max() + 1) if balance else np.ones(labels.max() + 1)
    weights = np.where(used, 1 / np.maximum(counts[labels], 1), 0)
    found: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return found


def _scaled(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features with mean 0 and deviation 1; constant ones become about 0."""
    mean, deviation = _scale(features)
    scaled: NDArray[np.float32] = ((features - mean) / deviation).astype(np.float32)
    return scaled


def _scale(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each feature; the deviation is infinite where the feature is constant."""
    precise = features.astype(np.float64)
    mean, deviation = precise.mean(axis=0), precise.std(axis=0)
    deviation[deviation <= 1e-6] = np.inf
    return mean, deviation
