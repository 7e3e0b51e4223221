import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'harnet[apply]'")

from harnet.evaluation import linear
from harnet.evaluation.linear import STANDARD, STRENGTHS, choose_strength, classify

RANDOM = np.random.default_rng(0)
PEOPLE = np.repeat(np.array(["a", "b", "c", "d", "e", "f"]), 60)
LABELS = np.tile(np.arange(3), 120)
EVERYBODY = np.arange(len(LABELS))


def features(noise: float, columns: int = 4) -> np.ndarray:
    """Well separated classes, on scales that differ by a factor of a million, and a constant."""
    places = RANDOM.standard_normal((3, columns))[LABELS] + noise * RANDOM.standard_normal((len(LABELS), columns))
    scales = np.logspace(-3, 3, columns)
    return np.concatenate([places * scales, np.full((len(LABELS), 1), 7.0)], axis=1).astype(np.float32)


def test_classes_are_learnt_whatever_the_scale_of_features() -> None:
    learnt, tested = EVERYBODY[:240], EVERYBODY[240:]
    scores, strength = classify(features(0.3), LABELS, PEOPLE, learnt, tested, balance=True)
    assert (scores.argmax(axis=1) == LABELS[tested]).mean() > 0.9
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-6, err_msg="log-probabilities")
    assert strength in STRENGTHS


def test_the_strength_is_chosen_by_training_people_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x, learnt = features(1.0), EVERYBODY[:240]
    chosen = choose_strength(x, LABELS, PEOPLE, learnt, True)
    spoilt_x, spoilt = x.copy(), LABELS.copy()
    spoilt_x[240:] = RANDOM.standard_normal(spoilt_x[240:].shape)
    spoilt[240:] = 0
    assert choose_strength(spoilt_x, spoilt, PEOPLE, learnt, True) == chosen
    folds: list[np.ndarray] = []
    real = linear.fit_path

    def watch(x: np.ndarray, labels: np.ndarray, weights: np.ndarray, *rest: object) -> object:
        folds.extend(weights.T)
        return real(x, labels, weights, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(linear, "fit_path", watch)
    choose_strength(x, LABELS, PEOPLE, learnt, True)
    held_out = [set(PEOPLE[learnt][weights == 0]) for weights in folds]
    assert sorted(held_out, key=min) == [{"a"}, {"b"}, {"c"}, {"d"}], "each of four people is left out once, whole"


def test_many_useless_features_ask_for_a_stronger_penalty_than_few_good_ones() -> None:
    good = features(0.3)
    useless = np.concatenate([features(3.0), RANDOM.standard_normal((len(LABELS), 300)).astype(np.float32)], axis=1)
    chosen = [choose_strength(x, LABELS, PEOPLE, EVERYBODY, True) for x in (good, useless)]
    assert chosen[1] >= 0.03
    assert chosen[1] >= chosen[0]


def test_one_person_and_one_class_are_no_failure() -> None:
    x = features(0.3)
    assert choose_strength(x, LABELS, PEOPLE, EVERYBODY[:60], True) == STANDARD
    only = EVERYBODY[LABELS == 2][:10]
    scores, _ = classify(x, LABELS, PEOPLE, only, EVERYBODY, balance=True)
    assert set(scores.argmax(axis=1).tolist()) == {2}


def test_a_class_that_nobody_shows_in_training_is_never_predicted() -> None:
    x = features(0.3)
    for left_out in range(3):
        learnt = EVERYBODY[np.isin(LABELS, [left_out], invert=True)]
        scores, _ = classify(x, LABELS, PEOPLE, learnt, EVERYBODY, balance=True)
        assert scores.shape == (len(LABELS), 3)
        assert np.isfinite(scores).all()
        assert set(scores.argmax(axis=1).tolist()) == {0, 1, 2} - {left_out}


def test_the_same_numbers_again() -> None:
    x = features(1.0)
    again = [classify(x, LABELS, PEOPLE, EVERYBODY[:180], EVERYBODY, True) for _ in range(2)]
    assert np.array_equal(again[0][0], again[1][0])
    assert again[0][1] == again[1][1]
