"""Shares of a job array."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnet.errors import HarnetError
from harnet.parts import Part


@given(items=st.lists(st.integers()), count=st.integers(1, 50))
def test_parts_hold_every_item_once(items: list[int], count: int) -> None:
    parts = [Part.parse(f"{number}/{count}").of(items) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == sorted(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "-1/3", "1", "a/b", "1/2/3", "", "1.5/3", "٣/٤"])
def test_what_is_no_part_is_told(text: str) -> None:
    with pytest.raises(HarnetError, match="--part"):
        Part.parse(text)
