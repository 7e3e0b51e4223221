import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnet.evaluation.scores import difference, interval

people = st.dictionaries(st.text("abcd", min_size=1, max_size=4), st.floats(0, 1), min_size=1, max_size=12)


@given(people)
def test_the_mean_lies_in_its_interval_and_that_among_the_people(values: dict[str, float]) -> None:
    found = interval(values)
    assert found.people == len(values)
    slack = 1e-9
    assert min(values.values()) - slack <= found.low <= found.mean + slack
    assert found.mean - slack <= found.high <= max(values.values()) + slack


@given(people, st.floats(-0.5, 0.5))
def test_a_constant_difference_is_certain_however_people_differ(values: dict[str, float], shift: float) -> None:
    found = difference({name: value + shift for name, value in values.items()}, values)
    assert found.low == pytest.approx(shift, abs=1e-9)
    assert found.high == pytest.approx(shift, abs=1e-9)


def test_pairing_is_by_person_and_not_by_place() -> None:
    found = difference({"a": 0.9, "b": 0.1, "only here": 1.0}, {"b": 0.1, "a": 0.9, "only there": 0.0})
    assert (found.people, found.mean, found.low, found.high) == (2, 0.0, 0.0, 0.0)
    assert difference({"a": 1.0}, {"b": 1.0}).people == 0


def test_the_interval_covers_as_often_as_it_says() -> None:
    """300 samples of 40 people: about 95 % of the intervals cover the truth; the percentile method is slightly low."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        values = random.normal(0.6, 0.2, 40)
        found = interval({f"{number:02d}": value for number, value in enumerate(values)})
        covered += found.low <= 0.6 <= found.high
    assert 0.90 <= covered / 300 <= 0.985
