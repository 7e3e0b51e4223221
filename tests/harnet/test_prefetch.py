import threading
import time
from collections.abc import Iterator
from itertools import count, islice

import pytest

from harnet.prefetch import prefetched


def test_the_elements_come_in_order_and_end() -> None:
    assert list(prefetched(iter(range(100)), 3)) == list(range(100))
    assert list(prefetched(iter(()), 1)) == []


def test_an_error_comes_after_the_elements_before_it() -> None:
    def elements() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("three")

    found = prefetched(elements(), 5)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="three"):
        next(found)


def test_no_more_is_taken_than_was_allowed_and_nothing_once_it_is_closed() -> None:
    taken: list[int] = []
    before = threading.active_count()

    def elements() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    found = prefetched(elements(), 2)
    assert list(islice(found, 5)) == [0, 1, 2, 3, 4]
    settled(taken)
    # Five were handed out, and two are ready.
    assert taken == [0, 1, 2, 3, 4, 5, 6]
    found.close()
    settled(taken)
    assert len(taken) == 7
    for _ in range(200):
        if threading.active_count() == before:
            break
        time.sleep(0.05)
    assert threading.active_count() == before


def settled(taken: list[int]) -> None:
    """Wait until no item has been taken for a while."""
    length = -1
    while length != len(taken):
        length = len(taken)
        time.sleep(0.2)
