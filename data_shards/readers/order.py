"""Selects the pieces of a file that make up its recording: each once, in order of time.

A piece is the unit that a device timestamps and writes: a block, page, record or packet. A copy may contain some
pieces twice, and a device may write one in thousands with the timestamp of another day and a valid checksum. Taken
at face value, one timestamp far ahead would make all following ones run backwards. So pieces are selected by their
timestamps before any is decoded.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import REPAIR_SHARE, Tally
from harnet.errors import HarnetError

DAY = 86_400.0
PAUSE = 60.0
"""Maximum distance in seconds between pieces with consecutive sequence numbers."""
ALONE = 3600.0
"""A single piece at an end is out of place if it is this many seconds from all others."""
RESTARTED = 10
"""A sequence number up to this, after a higher one, is from a device that began to count again."""


@dataclass(frozen=True)
class Pieces:
    """All readable pieces of a file, in the order of the file."""

    name: str
    """Their name in messages, such as "blocks"."""
    stamps: NDArray[np.float64]
    """(n,) seconds since 1970."""
    identities: NDArray[np.generic]
    """(n,) equal for pieces that are identical byte for byte."""
    places: NDArray[np.int64]
    """(n,) index of each piece in the file, from 0."""
    sequence: NDArray[np.int64] | None = None
    """(n,) consecutive numbers assigned by the device; None if there are none."""


def in_order(pieces: Pieces, tally: Tally) -> NDArray[np.bool_]:
    """(n,) whether to read each: a longest selection with non-decreasing timestamps; the others are counted.

    Raises:
        HarnetError: more than `REPAIR_SHARE` of the pieces, and more than one, are out of order, in the file or by a
            clock that was reset; or the clock stood still, or was set forward between two consecutive numbers.
    """
    stamps, sequence = pieces.stamps, pieces.sequence
    once = np.flatnonzero(_first_of_each(stamps, pieces.identities))
    chosen = _selected(pieces, once)
    if len(chosen) < len(once) < len(stamps):
        # A copy may lie before its original.
        last = len(stamps) - 1 - np.flatnonzero(_first_of_each(stamps[::-1], pieces.identities[::-1]))[::-1]
        others = _selected(pieces, last)
        if len(others) > len(chosen):
            once, chosen = last, others
    tally.add("repeated blocks", len(stamps) - len(once), f"{pieces.name}, of {len(stamps)}")
    _refuse_stopped(pieces, chosen, tally.named)
    if sequence is not None:
        jumps = np.flatnonzero(_jumps(stamps[chosen], sequence[chosen]))
        if len(jumps):
            _refuse_jump(pieces, int(chosen[jumps[0]]), int(chosen[jumps[0] + 1]), tally.named)
        _count_restarts(pieces, chosen, tally)
    keep = np.zeros(len(stamps), bool)
    keep[chosen] = True
    left_out = once[~keep[once]]
    if len(left_out):
        backward = once[1:][np.diff(stamps[once]) < 0]
        if len(left_out) > max(1, REPAIR_SHARE * len(once)):
            _refuse_disorder(pieces, once, tally.named)
        reset = len(left_out) > max(1, REPAIR_SHARE * len(once), 2 * len(backward)) and len(backward) > 0
        # After a clock reset everything that follows is out of order: report the reset itself.
        first = int(backward[0] if reset else left_out[0])
        before = f" after {written(stamps[first - 1])}" if first else ""
        where = (
            f"{pieces.name}; the first is number {pieces.places[first] + 1}, stamped {written(stamps[first])}{before}"
        )
        judged = Tally(tally.named)
        judged.add("backward times" if reset else "isolated stamps", len(left_out), where)
        judged.judge(len(once))
        tally.add("isolated stamps", len(left_out), where)
    return keep


def _selected(pieces: Pieces, once: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the pieces `once`, none of which are identical, that are in order and in company."""
    chosen = once[in_time(pieces.stamps[once])]
    chosen = chosen[_in_company(pieces.stamps[chosen])]
    if pieces.sequence is not None:
        chosen = chosen[_without_jump(pieces.stamps[chosen], pieces.sequence[chosen])]
    return chosen


def in_time(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) True for a longest non-decreasing selection, without those far from all others."""
    keep = _near_the_rest(stamps)
    keep[keep] = ~_spikes(stamps[keep])
    keep[keep] = _longest_rise(stamps[keep])
    return keep


def _first_of_each(stamps: NDArray[np.float64], identities: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(n,) whether no previous piece is identical."""
    keep = np.ones(len(stamps), bool)
    if (np.diff(stamps) > 0).all():
        return keep  # the common case; much faster than sorting half a million pieces
    _, first = np.unique(identities, return_index=True)
    keep[:] = False
    keep[first] = True
    return keep


def _near_the_rest(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) False for a few outliers that are further from the others than the others are from each other."""
    count = len(stamps)
    few = max(1, int(REPAIR_SHARE * count))
    if count < 2 * few + 2:
        return np.ones(count, bool)
    if (np.diff(stamps) >= 0).all():
        low, high = stamps[few], stamps[-1 - few]
    else:
        low, high = np.partition(stamps, (few, count - 1 - few))[[few, count - 1 - few]]
    far = max(DAY, high - low)
    near: NDArray[np.bool_] = (stamps >= low - far) & (stamps <= high + far)
    return near


def _in_company(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) False for a single piece at an end, far from all others, of so many that it hardly matters."""
    keep = np.ones(len(stamps), bool)
    if len(stamps) * REPAIR_SHARE >= 1:
        keep[0] = stamps[1] - stamps[0] < ALONE
        keep[-1] = stamps[-1] - stamps[-2] < ALONE
    return keep


def _spikes(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether the two neighbours are in order but the piece is not between them."""
    spikes = np.zeros(len(stamps), bool)
    before, here, after = stamps[:-2], stamps[1:-1], stamps[2:]
    spikes[1:-1] = (before <= after) & ((here < before) | (here > after))
    # Two neighbours that changed places are both spikes; one of them fits.
    spikes[1:] &= ~spikes[:-1]
    return spikes


def _longest_rise(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) members of a longest non-decreasing subsequence (Schensted 1961, Canadian J Math 13:179)."""
    keep = np.zeros(len(stamps), bool)
    if (np.diff(stamps) >= 0).all():
        keep[:] = True
        return keep
    ends: list[float] = []
    at: list[int] = []
    before = np.full(len(stamps), -1)
    for index, stamp in enumerate(stamps.tolist()):
        place = bisect_right(ends, stamp)
        before[index] = at[place - 1] if place else -1
        if place == len(ends):
            ends.append(stamp)
            at.append(index)
        else:
            ends[place], at[place] = stamp, index
    index = at[-1]
    while index >= 0:
        keep[index] = True
        index = int(before[index])
    return keep


def _jumps(stamps: NDArray[np.float64], sequence: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n - 1,) whether the next piece is stamped much later, although numbered consecutively."""
    jumps: NDArray[np.bool_] = (np.diff(stamps) > PAUSE) & (np.diff(sequence) == 1)
    return jumps


def _without_jump(stamps: NDArray[np.float64], sequence: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) False for a few that such a jump separates from the others, at an end or beside lost pieces."""
    count = len(stamps)
    few = max(1, int(REPAIR_SHARE * count))
    keep = np.ones(count, bool)
    if count < 2 * few + 2:
        return keep
    jumps = _jumps(stamps, sequence)
    keep[: int(np.flatnonzero(jumps[:few]).max(initial=-1)) + 1] = False
    keep[int(np.flatnonzero(jumps[-few:]).min(initial=few)) + count - few :] = False
    for before, after in _misplaced(stamps, sequence, jumps, few) if jumps.any() else ():
        keep[before + 1 : after] = False
    return keep


def _misplaced(
    stamps: NDArray[np.float64], sequence: NDArray[np.int64], jumps: NDArray[np.bool_], few: int
) -> Iterator[tuple[int, int]]:
    """Pieces before and after a few that lie between a jump and lost pieces, if they agree in time and number."""
    numbered = np.diff(sequence) == 1
    period = float(np.median(np.diff(stamps)[numbered]))
    ends = [*np.flatnonzero(jumps | ~numbered).tolist(), len(stamps) - 1]
    for before, last in pairwise(ends):
        after = last + 1
        if after < len(stamps) and last - before <= few and (jumps[before] or jumps[last]):
            lasted = (sequence[after] - sequence[before]) * period
            if abs(stamps[after] - stamps[before] - lasted) <= PAUSE:
                yield before, after


def _refuse_jump(pieces: Pieces, before: int, after: int, named: object) -> None:
    """Raise `HarnetError`: by their numbers nothing is missing between two pieces, by their timestamps much is."""
    stamped = f"stamped {written(pieces.stamps[after])} after {written(pieces.stamps[before])}"
    raise HarnetError(
        f"{named}: the clock was set forward while recording: of the {pieces.name}, number {pieces.places[after] + 1} "
        f"is {stamped}, although the device numbered them consecutively: split the file there, or exclude it"
    )


def _refuse_disorder(pieces: Pieces, once: NDArray[np.int64], named: object) -> None:
    """Raise `HarnetError` if, in the order of the device's numbers, the timestamps are in order too."""
    if pieces.sequence is None:
        return
    sequence = pieces.sequence[once]
    by_number = once[np.argsort(sequence, kind="stable")]
    if (np.diff(pieces.sequence[by_number]) > 0).all() and (np.diff(pieces.stamps[by_number]) >= 0).all():
        first = once[int(np.argmax(np.diff(sequence) < 0)) + 1]
        raise HarnetError(
            f"{named}: the {pieces.name} are not in the order in which the device numbered them: number "
            f"{pieces.places[first] + 1} is stamped {written(pieces.stamps[first])} after "
            f"{written(pieces.stamps[first - 1])}: copy the file again from the device, or exclude it"
        )


def _refuse_stopped(pieces: Pieces, chosen: NDArray[np.int64], named: object) -> None:
    """Raise `HarnetError` if more than two consecutive pieces, and `REPAIR_SHARE` of all, have the same timestamp."""
    starts = np.flatnonzero(np.diff(pieces.stamps[chosen], prepend=-np.inf) > 0)
    lengths = np.diff(starts, append=len(chosen))
    longest = int(lengths.argmax()) if len(lengths) else 0
    if len(lengths) and lengths[longest] > max(2, REPAIR_SHARE * len(chosen)):
        first = chosen[starts[longest]]
        raise HarnetError(
            f"{named}: the clock stood still while recording: {lengths[longest]:,} of {len(chosen):,} {pieces.name}, "
            f"from number {pieces.places[first] + 1} on, are stamped {written(pieces.stamps[first])}: split the file "
            "there, or exclude it"
        )


def _count_restarts(pieces: Pieces, chosen: NDArray[np.int64], tally: Tally) -> None:
    """Note where the device began to number again: it restarted, or another recording begins."""
    assert pieces.sequence is not None
    sequence = pieces.sequence[chosen]
    at = np.flatnonzero((np.diff(sequence) < 0) & (sequence[1:] <= RESTARTED) & (sequence[1:] >= 0)) + 1
    if len(at):
        first, before = chosen[at[0]], chosen[at[0] - 1]
        stamped = f"stamped {written(pieces.stamps[first])} after {written(pieces.stamps[before])}"
        tally.add(
            "numbered again", len(at), f"{pieces.name}; the first is number {pieces.places[first] + 1}, {stamped}"
        )


def written(stamp: float) -> str:
    """A time in seconds since 1970 as people write it."""
    return f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d %H:%M:%S}"
