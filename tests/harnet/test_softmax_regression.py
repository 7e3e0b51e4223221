"""The optimiser of logistic regression against scikit-learn's, for several weightings of the windows at once."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'harnet[apply]'")

from sklearn.linear_model import LogisticRegression

from harnet.evaluation.softmax_regression import fit_path

RANDOM = np.random.default_rng(0)
CLASSES, FEATURES = 4, 30
LABELS = RANDOM.integers(0, CLASSES, 600)
MIXED = RANDOM.standard_normal((FEATURES, FEATURES)) * np.logspace(0, -2, FEATURES)
NOISE = RANDOM.standard_normal((len(LABELS), FEATURES))
X = ((RANDOM.standard_normal((CLASSES, FEATURES))[LABELS] + NOISE) @ MIXED).astype(np.float32)
X = (X - X.mean(axis=0)) / X.std(axis=0)
"""Correlated features."""
STRENGTHS = (0.1, 0.01, 0.001)


def weightings() -> np.ndarray:
    """All windows alike, only the first half, and each window by chance."""
    each = [np.ones(len(LABELS)), np.arange(len(LABELS)) < 300, RANDOM.random(len(LABELS))]
    return np.stack([one / one.sum() for one in each], axis=1).astype(np.float32)


def test_each_weighting_gets_the_minimum_that_scikit_learn_finds() -> None:
    weights = weightings()
    for strength, (weight, bias) in zip(STRENGTHS, fit_path(X, LABELS, weights, STRENGTHS, [1e-5] * 3), strict=True):
        for number in range(weights.shape[1]):
            model = LogisticRegression(C=1 / strength, tol=1e-8, max_iter=10_000)
            model.fit(X.astype(np.float64), LABELS, weights[:, number].astype(np.float64))
            np.testing.assert_allclose(weight[:, number].T, model.coef_, atol=2e-3)
            ours = X @ weight[:, number] + bias[number]
            ours -= ours.mean(axis=1, keepdims=True)
            theirs = model.decision_function(X)
            np.testing.assert_allclose(ours, theirs - theirs.mean(axis=1, keepdims=True), atol=5e-3)


def test_a_class_without_weight_is_never_chosen_and_the_others_are_unharmed() -> None:
    weights = (LABELS != 1).astype(np.float32)[:, None] / (LABELS != 1).sum()
    ((weight, bias),) = fit_path(X, LABELS, weights, [0.01], [1e-5])
    seen = LABELS != 1
    model = LogisticRegression(C=100 / seen.sum(), tol=1e-8, max_iter=10_000).fit(X[seen], LABELS[seen])
    predicted = (X @ weight[:, 0] + bias[0]).argmax(axis=1)
    assert 1 not in predicted
    assert (predicted == model.predict(X)).mean() > 0.995


def test_one_class_alone_is_no_failure() -> None:
    weights = (LABELS == 2).astype(np.float32)[:, None] / (LABELS == 2).sum()
    ((weight, bias),) = fit_path(X, LABELS, weights, [0.01], [1e-4])
    assert set((X @ weight[:, 0] + bias[0]).argmax(axis=1).tolist()) == {2}
