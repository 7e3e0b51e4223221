import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'harnet[apply]'")

from harnet.errors import HarnetError
from harnet.transfer.folds import people_folds
from harnet.transfer.metrics import confusion, score_person, summarise

wearers = st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda row: len(set(row)) >= 2)


@given(people=wearers, seed=st.integers(0, 100), data=st.data())
def test_each_person_is_tested_once_and_never_trained_on_then(
    people: list[int], seed: int, data: st.DataObject
) -> None:
    names = np.array(people).astype(str)
    count = data.draw(st.none() | st.integers(2, len(set(people))))
    folds = people_folds(names, count, seed)
    assert sorted(name for fold in folds for name in fold) == sorted(set(names.tolist()))
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert len(folds) == (count or len(set(people)))
    assert people_folds(names[::-1], count, seed) == folds


def test_the_seed_deals_people_anew_and_too_many_folds_are_refused() -> None:
    names = np.arange(20).astype(str)
    assert people_folds(names, 4, 0) != people_folds(names, 4, 1)
    for count in (1, 21):
        with pytest.raises(HarnetError, match="from 2 to the number of people, 20"):
            people_folds(names, count, 0)


def test_macro_f1_counts_the_classes_a_person_did_or_was_said_to_do() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    score = score_person("P", truth, predicted)
    # Class 0: 1; class 1: precision 1, recall 1/2, so 2/3; class 2: predicted but never true, so 0. Class 3 is absent.
    assert score.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    # Observed agreement 3/4; by chance 1/2·1/2 + 1/2·1/4 = 3/8.
    assert score.kappa == pytest.approx((3 / 4 - 3 / 8) / (1 - 3 / 8))
    assert confusion(truth, predicted, 4) == [[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_kappa_is_left_out_of_the_mean_where_it_is_undefined() -> None:
    right = score_person("P", np.array([1, 1]), np.array([1, 1]))
    half = score_person("Q", np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    assert (right.macro_f1, right.kappa) == (1.0, None)
    summary = summarise([right, half])
    assert summary.kappa == half.kappa == pytest.approx(0.5)
    assert summary.macro_f1 == pytest.approx((1 + half.macro_f1) / 2)
