"""Labelled windows cut from recordings: their label, their band, and what is missing in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harnet.datasets.cutting import UNLABELLED, WindowCutting, Windows

CUT = WindowCutting()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(UNLABELLED, 1), st.integers(1, 400)), min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from([5, 10]),
)
def test_a_window_carries_its_most_frequent_label(runs: list[tuple[int, int]], overlap: bool, seconds: int) -> None:
    labels = np.concatenate([np.full(length, label) for label, length in runs])
    signal = np.tile([0.0, 0.0, 1.0], (len(labels), 1))
    made, length = Windows(WindowCutting(seconds, overlap), ("no", "yes")), seconds * 20
    step = length // 2 if overlap else length
    count = made.add("p", signal, labels, 20)
    expected = []
    for start in range(0, len(labels) - length + 1, step):
        votes = [(labels[start : start + length] == index).sum() for index in (0, 1)]
        if sum(votes) * 2 >= length:
            expected.append("yes" if votes[1] > votes[0] else "no")
    assert count == len(expected)
    if expected:
        found = made.finish("x", "y")
        assert found.labels.tolist() == expected
        assert found.seconds <= len(labels) / 20


def test_what_30_hz_cannot_carry_is_removed_and_what_is_missing_filled() -> None:
    time = np.arange(2000) / 100
    signal = np.stack([np.sin(2 * np.pi * 2 * time), np.sin(2 * np.pi * 40 * time), np.ones(2000)], axis=1)
    made = Windows(CUT, ("a",))
    made.add("p", signal, 0, 100)
    windows = made.finish("x", "y").windows
    assert windows[0, 0].std() == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert windows[:, 1].std() < 0.01
    holes = signal.copy()
    holes[3::20] = np.nan
    made = Windows(CUT, ("a",))
    assert made.add("p", holes, 0, 100) == len(windows)
    assert np.abs(made.finish("x", "y").windows[:, 0] - windows[:, 0]).max() < 0.03
    holes[:2000:5] = np.nan
    assert Windows(CUT, ("a",)).add("p", holes, 0, 100) == 0
