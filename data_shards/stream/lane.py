"""One lane: its windows in the order of delivery, a shuffle group in memory at a time.

Windows are not copied when a block is read. The block stays where it was read to, in the lane's part of one array of
samples, and a window is the three places in that array where its axes begin; whoever makes a batch gathers the
windows of all lanes from there at once. Blocks of which only a little is taken are kept as cut windows instead, so
that a lane's memory is bounded by the size of its groups.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from data_shards.layout import RATE, SAMPLES_PER_HOUR
from data_shards.shards.block import range_length
from data_shards.stream.damage import DamagedBlock, DamageTally
from data_shards.stream.draws import draw_starts
from data_shards.stream.plan import EpochPlan, OrderConfig
from data_shards.stream.shard_files import Shards
from harnet.errors import HarnetError

_ALIGNMENT = 32
"""Samples, 64 bytes: a cache line, and more than the numbers in a block need."""
BLOCK = -(-(range_length(SAMPLES_PER_HOUR) // 2 + 2048) // _ALIGNMENT) * _ALIGNMENT
"""Samples that the bytes of a full hour take, with some room: what cannot be compressed gets a little longer."""
_AXES = 3


def capacity(config: OrderConfig) -> int:
    """Samples of memory that a lane needs at most.

    Visits that lie within a group are kept as blocks only if that takes at most twice as much as their windows; the
    two at its ends, and one that stands in for damaged ones, may be larger by a block each.
    """
    windows = config.group * _AXES * config.window_seconds * RATE
    return _aligned(2 * windows) + _ALIGNMENT * config.group + 3 * BLOCK


def _aligned(samples: int) -> int:
    return -(-samples // _ALIGNMENT) * _ALIGNMENT


@dataclass
class _Kept:
    """A visited hour in memory."""

    begin: int
    """Where its samples begin in the lane's memory."""
    size: int
    """How many samples it takes there."""
    places: NDArray[np.int64]
    """(count, 3) where the axes of each window begin, counted from the beginning of the lane's memory."""


class Lane:
    """Reads what a plan says of one lane into `memory`, (capacity,) int16."""

    def __init__(
        self,
        shards: Shards,
        plan: EpochPlan,
        lane: int,
        memory: NDArray[np.int16],
        scratch: NDArray[np.int16],
        tally: DamageTally,
    ) -> None:
        self._shards, self._plan, self._lane, self._tally = shards, plan, lane, tally
        self._memory, self._scratch = memory, scratch
        self._address = memory.__array_interface__["data"][0]
        self._width = plan.config.window_seconds * RATE
        self._number = -2
        self._places = np.empty((0, _AXES), np.int64)
        self._kept: dict[int, _Kept | None] = {}
        self._used = 0

    def fill(self, first: int, out: NDArray[np.int64]) -> None:
        """Write to `out`, (b, 3), where the lane's windows number `first` and on have their axes in its memory.

        Raises:
            HarnetError: too much is damaged, or nothing can be read.
        """
        number, offset = self._plan.place(self._lane, first)
        if number != self._number:
            self._load(number)
            self._number = number
        assert len(self._places) >= offset + len(out)
        out[:] = self._places[offset : offset + len(out)]

    def _load(self, number: int) -> None:
        """Have a group in memory, and nothing else but what it shares with the one before."""
        plan = self._plan
        start, stop = plan.bounds(self._lane, number)
        visits = plan.visits(start, stop)
        self._drop_all_but(visits)
        if number != self._number + 1:
            self._announce(visits)
        for visit in visits:
            self._keep(visit)
        places = np.concatenate([self._windows(visit) for visit in visits])
        before = start - plan.start(visits.start)
        self._places = places[before : before + stop - start][plan.shuffled(self._lane, number)]
        self._announce(plan.visits(*plan.bounds(self._lane, number + 1)))

    def _announce(self, visits: range) -> None:
        """Have visits read ahead that are not in memory."""
        for visit in visits:
            row = int(self._plan.rows[visit])
            if visit not in self._kept and not self._tally.knows(row):
                self._shards.prefetch(row)

    def _windows(self, visit: int) -> NDArray[np.int64]:
        """(count, 3) places of a visit's windows.

        Those of a damaged block are replaced by windows of the next sound visit on the line, from its first on, over
        and over: a function of the plan and of the damage alone, so that all processes stay in step. Such windows
        come up twice in an epoch.
        """
        donor = visit
        while (kept := self._keep(donor)) is None:
            donor = (donor + 1) % len(self._plan.rows)
            if donor == visit:
                raise HarnetError(f"{self._shards.manifest.where}: not one sound block in it: run `harnet verify`")
        count = self._plan.count(visit)
        return kept.places if donor == visit else kept.places[np.arange(count) % len(kept.places)]

    def _drop_all_but(self, visits: range) -> None:
        """Forget visits that are over; what is left moves to the beginning of the memory."""
        staying = {visit: kept for visit, kept in self._kept.items() if visit in visits}
        self._used = 0
        for kept in sorted((kept for kept in staying.values() if kept), key=lambda kept: kept.begin):
            self._memory[self._used : self._used + kept.size] = self._memory[kept.begin : kept.begin + kept.size]
            kept.places += self._used - kept.begin
            kept.begin = self._used
            self._used += kept.size
        self._kept = staying

    def _keep(self, visit: int) -> _Kept | None:
        """A visit in memory, read if it is not there; None if its block is damaged."""
        if visit not in self._kept:
            row = int(self._plan.rows[visit])
            self._kept[visit], damage = None, None
            try:
                if not self._tally.knows(row):
                    self._kept[visit] = self._read(row, self._plan.count(visit))
            except DamagedBlock as error:
                damage = error
            self._tally.add(row, damage)
        return self._kept[visit]

    def _read(self, row: int, count: int) -> _Kept:
        shards, config, begin = self._shards, self._plan.config, self._used
        block = _aligned(max(-(-shards.length(row) // 2), _AXES * shards.samples(row)))
        cut = count * _AXES * self._width
        whole = block <= 2 * cut
        target = self._memory[begin : begin + block] if whole else self._scratch
        if block > len(target):
            raise DamagedBlock(f"{shards.manifest.name_of(row)}: {shards.length(row)} bytes are no person-hour")
        accel, motion, wear = shards.read_into(row, target.view(np.uint8).data)
        starts = draw_starts(motion, wear, count, config.window_seconds, self._plan.draw_key(row)) * RATE
        if len(starts) < count:
            raise DamagedBlock(
                f"{shards.manifest.name_of(row)}: {len(starts)} windows of {config.window_seconds} s can start in it, "
                f"the manifest says {count} or more; `harnet verify` lists what is wrong and the remedy"
            )
        if whole:
            at, stride, size = self._found(accel, begin), shards.samples(row), block
        else:
            windows = sliding_window_view(accel, self._width, axis=1)[:, starts].transpose(1, 0, 2)
            self._memory[begin : begin + cut].reshape(windows.shape)[:] = windows
            at, stride, size, starts = begin, self._width, _aligned(cut), np.arange(count) * _AXES * self._width
        self._used += size
        return _Kept(begin, size, (at + starts)[:, None] + np.arange(_AXES) * stride)

    def _found(self, accel: NDArray[np.int16], begin: int) -> int:
        """Where the signal lies in memory: in the bytes that were read there, or, if unpacked, copied over them."""
        place = (accel.__array_interface__["data"][0] - self._address) // 2
        if begin <= place < begin + BLOCK:
            return int(place)
        self._memory[begin : begin + accel.size] = accel.reshape(-1)
        return begin
