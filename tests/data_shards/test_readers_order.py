"""Selection of the pieces that belong to one recording, whatever was inserted between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.readers.oddities import Tally
from data_shards.readers.order import Pieces, in_order, in_time
from harnet.errors import HarnetError

COUNT = 400
START = 1_700_000_000.0


def pieces(stamps: list[float], identities: list[int]) -> Pieces:
    return Pieces("blocks", np.array(stamps), np.array(identities), np.arange(len(stamps)))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    strays=st.dictionaries(st.integers(0, COUNT - 1), st.floats(2, 10_000).map(lambda days: 86_400 * days), max_size=4),
    behind=st.booleans(),
    again=st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(1, 2 * COUNT)), max_size=60),
)
def test_strays_and_repeats_leave_what_was_recorded(
    strays: dict[int, float], behind: bool, again: list[tuple[int, int]]
) -> None:
    stamps = {number: START + number + strays.get(number, 0) * (-1 if behind else 1) for number in range(COUNT)}
    written = list(range(COUNT))
    for number, later in again:
        written.insert(written.index(number) + later, number)
    tally = Tally("file")
    keep = in_order(pieces([stamps[number] for number in written], written), tally)
    assert [number for number, kept in zip(written, keep, strict=True) if kept] == [
        number for number in range(COUNT) if number not in strays
    ]
    assert (tally.count("repeated blocks"), tally.count("isolated stamps")) == (len(again), len(strays))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_as_many_as_there_can_be_that_never_decrease(stamps: list[int]) -> None:
    kept = in_time(np.array(stamps, float))
    assert (np.diff(np.array(stamps)[kept]) >= 0).all()
    longest = [1] * len(stamps)
    for index, stamp in enumerate(stamps):
        longest[index] = 1 + max((longest[before] for before in range(index) if stamps[before] <= stamp), default=0)
    # A spike is dropped even if it could be kept by dropping its neighbour.
    assert max(longest) - 1 <= int(kept.sum()) + sum(np.diff(stamps) < 0)
    if max(longest) == len(stamps):
        assert kept.all()


@pytest.mark.parametrize("at", [5, 100, 200, 395])
def test_a_reset_is_refused_where_it_happened(at: int) -> None:
    stamps = [START + number - (5000 if number >= at else 0) for number in range(COUNT)]
    with pytest.raises(HarnetError, match=rf"backward times: .* of 400, blocks; the first is number {at + 1}, stamped"):
        in_order(pieces(stamps, list(range(COUNT))), Tally("file"))


def test_a_clock_that_was_set_forward_is_a_gap() -> None:
    stamps = [START + number + (7200 if number >= 200 else 0) for number in range(COUNT)]
    tally = Tally("file")
    assert in_order(pieces(stamps, list(range(COUNT))), tally).all()
    assert tally.notes() == ()


@pytest.mark.parametrize("at", [5, 200, 395])
def test_one_that_was_set_forward_between_numbered_pieces_is_refused(at: int) -> None:
    stamps = np.array([START + number + (7200 if number >= at else 0) for number in range(COUNT)])
    numbers = np.arange(COUNT)
    with pytest.raises(HarnetError, match=rf"the clock was set forward .* blocks, number {at + 1} is stamped"):
        in_order(Pieces("blocks", stamps, numbers, numbers, numbers), Tally("file"))
    lost = np.where(numbers < at, numbers, numbers + 7200)
    assert in_order(Pieces("blocks", stamps, numbers, numbers, lost), Tally("file")).all()


@pytest.mark.parametrize(("at", "far"), [(199, 3600), (199, 61), (200, -3600), (200, -61)])
def test_a_piece_of_another_time_beside_lost_pieces_is_left_out(at: int, far: int) -> None:
    numbers = np.arange(COUNT) + np.where(np.arange(COUNT) < 200, 0, 7200)
    stamps = START + numbers.astype(np.float64)
    stamps[at] += far
    tally = Tally("file")
    keep = in_order(Pieces("blocks", stamps, numbers, np.arange(COUNT), numbers), tally)
    assert np.flatnonzero(~keep).tolist() == [at]
    assert [(note.kind, note.count) for note in tally.notes()] == [("isolated stamps", 1)]


def test_a_clock_set_forward_shortly_before_lost_pieces_is_refused() -> None:
    numbers = np.arange(COUNT) + np.where(np.arange(COUNT) < 200, 0, 10)
    stamps = START + numbers + np.where(np.arange(COUNT) < 198, 0.0, 7200.0)
    with pytest.raises(HarnetError, match="the clock was set forward while recording: of the blocks, number 199"):
        in_order(Pieces("blocks", stamps, numbers, np.arange(COUNT), numbers), Tally("file"))


@pytest.mark.parametrize("at", [0, 200, COUNT - 2])
def test_of_two_neighbours_that_changed_places_one_is_left_out(at: int) -> None:
    order = [*range(at), at + 1, at, *range(at + 2, COUNT)]
    tally = Tally("file")
    assert in_order(pieces([START + number for number in order], order), tally).sum() == COUNT - 1
    assert tally.count("isolated stamps") == 1


def test_half_a_million_in_disorder_are_no_matter_of_minutes() -> None:
    stamps = START + np.arange(500_000.0)
    stamps[::200] += 3e7
    keep = in_order(Pieces("blocks", stamps, np.arange(500_000), np.arange(500_000)), Tally("file"))
    assert int(keep.sum()) == 497_500
