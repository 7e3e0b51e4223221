"""Smoothing compared with brute force, summaries compared with a plain sum."""

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnet.apply.smoothing import Smoother
from harnet.apply.summaries import RecordingSummary, WearSums, person_tables
from harnet.errors import HarnetError
from harnet.weights.fingerprint import check_windows


@given(seed=st.integers(0, 10_000), length=st.integers(1, 6), bout=st.floats(11, 500))
def test_the_path_is_the_most_likely_of_all(seed: int, length: int, bout: float) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), length).astype(np.float32)
    change = 10 / bout

    def likelihood(path: tuple[int, ...]) -> float:
        moves = sum(np.log(1 - change) if a == b else np.log(change / 2) for a, b in pairwise(path))
        return moves + sum(np.log(max(row[c], 1e-6)) for row, c in zip(probabilities.tolist(), path, strict=True))

    found = Smoother(bout, 10).smooth(np.arange(length) * 10, probabilities)
    best = max(likelihood(path) for path in product(range(3), repeat=length))
    assert likelihood(tuple(found.tolist())) == pytest.approx(best, rel=1e-9)


def test_one_doubtful_window_is_smoothed_away_and_a_gap_begins_anew() -> None:
    probabilities = np.array([[0.9, 0.1]] * 5 + [[0.3, 0.7]] + [[0.9, 0.1]] * 5, np.float32)
    starts = np.arange(11) * 10
    smoother = Smoother(300, 10)
    assert smoother.smooth(starts, probabilities).tolist() == [0] * 11
    alone = starts + np.array([0] * 5 + [60] + [120] * 5)
    assert smoother.smooth(alone, probabilities).tolist() == [0] * 5 + [1] + [0] * 5
    assert smoother.smooth(starts[:0], probabilities[:0]).tolist() == []
    assert smoother.smooth(starts, probabilities[:, :1]).tolist() == [0] * 11
    with pytest.raises(HarnetError, match="longer than the step between windows, 10 s"):
        Smoother(10, 10)


def test_sums_by_day_and_hour_do_not_depend_on_the_pieces(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wall = np.sort(random.choice(np.arange(0, 3 * 86400, 30), 2000, replace=False)) + 86400 * 18_000
    values = random.random((2000, 4), np.float32)
    whole, pieces = WearSums(4, 30), WearSums(4, 30)
    whole.add(wall, values)
    for part in np.array_split(np.arange(2000), 7):
        pieces.add(wall[part], values[part])
    found = whole.finished()
    for name in ("days", "wear", "sums", "wear_by_hour", "sums_by_hour"):
        np.testing.assert_allclose(getattr(found, name), getattr(pieces.finished(), name))
    found.save(tmp_path / "s.npz")
    again = RecordingSummary.load(tmp_path / "s.npz")
    rows, person = person_tables("P1", [again])
    assert [str(row.day) for row in rows] == ["2019-04-14", "2019-04-15", "2019-04-16"]
    assert person is not None
    np.testing.assert_allclose(person.wear_mean, values.mean(axis=0), rtol=1e-5)
    assert sum(row.wear_seconds for row in rows) == person.wear_seconds == 2000 * 30
    (tmp_path / "s.npz").write_bytes(b"damaged")
    with pytest.raises(HarnetError, match=r"s.npz: damaged"):
        RecordingSummary.load(tmp_path / "s.npz")


def test_each_hour_of_the_day_weighs_the_same_for_a_person() -> None:
    """Worn on two nights and one day: nights must not count twice."""
    night = np.concatenate([np.arange(0, 12 * 3600, 60) + day * 86400 for day in (0, 1)])
    day = np.arange(12 * 3600, 86400, 60)
    first, second = WearSums(1, 60), WearSums(1, 60)
    first.add(night, np.zeros((len(night), 1), np.float32))
    second.add(day, np.ones((len(day), 1), np.float32))
    _, person = person_tables("P1", [first.finished(), second.finished()])
    assert person is not None
    assert (person.days, person.hours_covered) == (2, 24)
    assert person.day_mean is not None
    assert person.day_mean.tolist() == [0.5]
    assert person.wear_mean.tolist() == pytest.approx([1 / 3])
    _, alone = person_tables("P1", [first.finished()])
    assert alone is not None
    assert alone.day_mean is None
    assert person_tables("P2", []) == ([], None)


@pytest.mark.parametrize(
    ("windows", "rate", "said"),
    [
        (np.full((2, 3, 300), 5.7), 30, r"looks like m/s².*windows / 9.80665"),
        (np.full((2, 3, 300), 577.0), 30, "looks like mg"),
        (np.full((2, 3, 300), 2365.0), 30, "counts of 1/4096 g"),
        (np.full((2, 3, 300), 0.01), 30, "was gravity removed"),
        (np.full((2, 3, 1000), 0.58), 100, r"100 Hz, expected 30 Hz: .*resample_poly\(windows, 3, 10, axis=2"),
        (
            np.full((2, 3, 1000), 0.58),
            30,
            r"windows of 1000 samples, harnet10 takes 300.*resample_poly\(windows, 3, 10",
        ),
        (np.full((2, 3, 150), 0.58), 30, "that length fits harnet5"),
        (np.full((2, 300, 3), 0.58), 30, r"windows.transpose\(0, 2, 1\)"),
        (np.full((2, 3, 300), np.nan), 30, "2 of 2 windows contain NaN or infinity"),
        (np.ones((2, 3, 300), np.int16), 30, "int16, expected floating point"),
    ],
)
def test_windows_that_do_not_fit_are_refused_with_the_call_that_mends_them(
    windows: np.ndarray, rate: float, said: str
) -> None:
    with pytest.raises(HarnetError, match=said):
        check_windows(windows, "harnet10", rate)
    check_windows(np.full((2, 3, 300), 0.58, np.float32), "harnet10")
