"""One lane: holds one shuffle group of its windows in memory at a time and delivers them in shuffled order.

An hour is read into a scratch buffer that stays in the processor's cache, its windows are copied from there to the
group, and from the group to batches. So a window is copied twice, without any memory allocation.
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
"""Bytes of a full hour plus a margin: incompressible data get slightly longer."""
_SECOND = np.dtype((np.void, 2 * RATE))
"""One second of one axis as a single item; windows start at whole seconds."""


class Lane:
    """Reads the windows of one lane of a plan into `memory`, (group, 3, 30·seconds) int16."""

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

    def copy_windows(self, first: int, out: NDArray[np.void]) -> None:
        """Copy the lane's windows from number `first` on, all in one group, to `out` (b,), in the form of `as_items`.

        Raises:
            HarnetError: too many blocks are damaged, or none can be read.
        """
        if first not in self._held:
            self._load(self._plan.place(self._lane, first)[0])
        offset = first - self._held.start
        # No index is out of bounds, but in the mode that checks this NumPy would first write to a copy of `out`.
        np.take(self._windows, self._order[offset : offset + len(out)], out=out, mode="clip")

    def _load(self, number: int) -> None:
        """Load a group into memory."""
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
        """Prefetch visits that are not in memory."""
        for visit in visits:
            row = int(self._plan.rows[visit])
            carried = self._carried is not None and self._carried[0] == visit
            if not carried and not self._tally.knows(row):
                self._shards.prefetch(row)

    def _at_edge(self, visit: int) -> NDArray[np.void]:
        """Windows of a visit that spans two groups, kept for the other group."""
        if self._carried is None or self._carried[0] != visit:
            windows = np.empty((self._plan.count(visit), *self._seconds.shape[1:]), _SECOND)
            self._fill(visit, windows)
            self._carried = visit, windows
        return self._carried[1]

    def _fill(self, visit: int, out: NDArray[np.void]) -> None:
        """Write the windows of a visit to `out`, (count, 3, seconds) items of one second.

        Windows of a damaged block are replaced by those of the next intact visit on the line, from its first on,
        repeating if needed. This depends only on the plan and the damage, so all ranks stay in step. Such windows are
        delivered twice in an epoch.
        """
        if self._read(visit, out):
            return
        visits = len(self._plan.rows)
        for donor in ((visit + step) % visits for step in range(1, visits)):
            windows = np.empty((self._plan.count(donor), *out.shape[1:]), _SECOND)
            if self._read(donor, windows):
                out[:] = windows[np.arange(len(out)) % len(windows)]
                return
        raise HarnetError(f"{self._shards.manifest.where}: contains no intact block: run `harnet verify`")

    def _read(self, visit: int, out: NDArray[np.void]) -> bool:
        """Like `_fill`, but returns False, with undefined contents of `out`, if the visit's block is damaged."""
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
            raise DamagedBlock(f"{shards.manifest.name_of(row)}: {shards.length(row)} bytes are not a person-hour")
        accel, motion, wear = shards.read_into(row, self._scratch.data)
        starts = draw_starts(motion, wear, count, seconds, self._plan.draw_key(row))
        if len(starts) < count:
            raise DamagedBlock(
                f"{shards.manifest.name_of(row)}: has {len(starts)} window starts for {seconds} s, the manifest says "
                f"{count} or more; run `harnet verify` for details and advice"
            )
        inside = np.arange(3)[:, None] * len(motion) + np.arange(seconds)
        np.take(accel.reshape(-1).view(_SECOND), starts[:, None, None] + inside, out=out, mode="clip")


def as_items(windows: NDArray[np.int16]) -> NDArray[np.void]:
    """View windows (b, 3, 30·seconds) as (b,) items, so that moving a window is a single memory copy."""
    assert windows.flags.c_contiguous
    return windows.reshape(len(windows), -1).view(f"V{windows[0].nbytes}")[:, 0]
