"""One lane: its windows in the order of the line, a shuffle group in memory at a time, given out in shuffled order.

An hour is read to a scratch place that stays in the processor's cache, its windows are cut from there into the group,
and batches take them out of the group. So a window is copied twice, and no memory is asked for on the way.
"""

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import RATE, SAMPLES_PER_HOUR
from data_shards.shards.block import range_length
from data_shards.stream.damage import DamagedBlock, DamageTally
from data_shards.stream.plan import EpochPlan
from data_shards.stream.shard_files import Shards
from data_shards.stream.window_sampling import draw_starts
from harnet.errors import HarnetError

SCRATCH_BYTES = range_length(SAMPLES_PER_HOUR) + 4096
"""Bytes of a full hour, with some room: what cannot be compressed gets a little longer."""
_SECOND = np.dtype((np.void, 2 * RATE))
"""Windows begin at whole seconds: an axis of one is a row of such items."""


class Lane:
    """Reads what a plan says of one lane into `memory`, (group, 3, 30·seconds) int16."""

    def __init__(
        self,
        shards: Shards,
        plan: EpochPlan,
        lane: int,
        memory: NDArray[np.int16],
        scratch: NDArray[np.uint8],
        tally: DamageTally,
    ) -> None:
        self._shards, self._plan, self._lane, self._tally = shards, plan, lane, tally
        self._seconds, self._windows, self._scratch = memory.view(_SECOND), as_items(memory), scratch
        self._order = np.empty(0, np.int64)
        self._held = range(0)
        self._next = -1
        self._carried: tuple[int, NDArray[np.void]] | None = None

    def give(self, first: int, out: NDArray[np.void]) -> None:
        """Write the lane's windows number `first` and on, all of one group, to `out`: (b,), as `as_items` has them.

        Raises:
            HarnetError: too much is damaged, or nothing can be read.
        """
        if first not in self._held:
            self._load(self._plan.place(self._lane, first)[0])
        offset = first - self._held.start
        # No index is out of bounds; but in the mode that checks it NumPy would write to a copy of `out` first.
        np.take(self._windows, self._order[offset : offset + len(out)], out=out, mode="clip")

    def _load(self, number: int) -> None:
        """Have a group in memory."""
        plan = self._plan
        start, stop = plan.bounds(self._lane, number)
        visits = plan.visits(start, stop)
        if number != self._next:
            self._announce(visits)
        for visit in visits:
            begin, end = plan.start(visit), int(plan.ends[visit])
            if start <= begin and end <= stop:
                self._fill(visit, self._seconds[begin - start : end - start])
            else:
                low, high = max(start, begin), min(stop, end)
                self._seconds[low - start : high - start] = self._at_edge(visit)[low - begin : high - begin]
        self._order = plan.shuffled(self._lane, number)
        length = plan.steps * plan.config.per_lane
        self._held = range(start - self._lane * length, stop - self._lane * length)
        self._next = number + 1
        self._announce(plan.visits(*plan.bounds(self._lane, self._next)))

    def _announce(self, visits: range) -> None:
        """Have visits read ahead that are not in memory."""
        for visit in visits:
            row = int(self._plan.rows[visit])
            carried = self._carried is not None and self._carried[0] == visit
            if not carried and not self._tally.knows(row):
                self._shards.prefetch(row)

    def _at_edge(self, visit: int) -> NDArray[np.void]:
        """Windows of a visit that lies only partly in the group, kept for the group that has the others."""
        if self._carried is None or self._carried[0] != visit:
            windows = np.empty((self._plan.count(visit), *self._seconds.shape[1:]), _SECOND)
            self._fill(visit, windows)
            self._carried = visit, windows
        return self._carried[1]

    def _fill(self, visit: int, out: NDArray[np.void]) -> None:
        """Write the windows of a visit to `out`, (count, 3, seconds) items of a second.

        Those of a damaged block are replaced by windows of the next sound visit on the line, from its first on, over
        and over: a function of the plan and of the damage alone, so that all processes stay in step. Such windows
        come up twice in an epoch.
        """
        if self._read(visit, out):
            return
        visits = len(self._plan.rows)
        for donor in ((visit + step) % visits for step in range(1, visits)):
            windows = np.empty((self._plan.count(donor), *out.shape[1:]), _SECOND)
            if self._read(donor, windows):
                out[:] = windows[np.arange(len(out)) % len(windows)]
                return
        raise HarnetError(f"{self._shards.manifest.where}: not one sound block in it: run `harnet verify`")

    def _read(self, visit: int, out: NDArray[np.void]) -> bool:
        """Like `_fill`; False, with anything in `out`, if the visit's block is damaged."""
        row = int(self._plan.rows[visit])
        sound, damage = not self._tally.knows(row), None
        if sound:
            try:
                self._cut(row, out)
            except DamagedBlock as error:
                sound, damage = False, error
        self._tally.add(row, damage)
        return sound

    def _cut(self, row: int, out: NDArray[np.void]) -> None:
        shards, (count, _, seconds) = self._shards, out.shape
        if shards.length(row) > len(self._scratch):
            raise DamagedBlock(f"{shards.manifest.name_of(row)}: {shards.length(row)} bytes are no person-hour")
        accel, motion, wear = shards.read_into(row, self._scratch.data)
        starts = draw_starts(motion, wear, count, seconds, self._plan.draw_key(row))
        if len(starts) < count:
            raise DamagedBlock(
                f"{shards.manifest.name_of(row)}: {len(starts)} windows of {seconds} s can start in it, "
                f"the manifest says {count} or more; `harnet verify` lists what is wrong and the remedy"
            )
        inside = np.arange(3)[:, None] * len(motion) + np.arange(seconds)
        np.take(accel.reshape(-1).view(_SECOND), starts[:, None, None] + inside, out=out, mode="clip")


def as_items(windows: NDArray[np.int16]) -> NDArray[np.void]:
    """(b,) the same memory as one item a window, (b, 3, 30·seconds): moving one is one copy of its bytes."""
    assert windows.flags.c_contiguous
    return windows.reshape(len(windows), -1).view(f"V{windows[0].nbytes}")[:, 0]
