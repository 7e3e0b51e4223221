"""A plan → batches: the windows of all lanes of a process, gathered from the blocks that they were read into."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import RATE
from data_shards.stream.damage import DamageTally
from data_shards.stream.lane import BLOCK, Lane, capacity
from data_shards.stream.plan import EpochPlan, OrderConfig
from data_shards.stream.shard_files import Shards

MAX_DAMAGED = 0.001
"""Share of damaged blocks above which a run stops."""


@dataclass(frozen=True)
class Batch:
    """One reader's part of a global batch."""

    windows: NDArray[np.int16]
    """(b, 3, 30·seconds) counts of 1/4096 g."""
    positions: NDArray[np.int64]
    """(b,) number of each window in the epoch: step · batch + place in the global batch. It keys the augmentation."""
    blocks: int
    """Blocks that were read for it."""
    damaged: int
    """Those of them that were damaged, and were skipped."""


class Reader:
    """Reads some lanes of a run, epoch after epoch, in one process.

    Its memory, about 6 MB a lane at the default settings, is taken once; see `data_shards.stream.lane.capacity`.
    """

    def __init__(self, shards: Shards, config: OrderConfig, lanes: range, max_damaged: float = MAX_DAMAGED) -> None:
        self._shards, self._config, self._lanes = shards, config, lanes
        self._tally = DamageTally(max_damaged)
        self._memory = np.empty((len(lanes), capacity(config)), np.int16)
        self._scratch = np.empty(BLOCK, np.int16)
        width = config.window_seconds * RATE
        # Every run of `width` samples in memory as one item of as many bytes: gathering items is one copy of each.
        self._runs = np.ndarray(self._memory.size - width + 1, f"V{2 * width}", self._memory, strides=(2,))

    def batches(self, plan: EpochPlan, first_step: int = 0, out: NDArray[np.int16] | None = None) -> Iterator[Batch]:
        """This reader's parts of global batches `first_step` to the epoch's last.

        Seeking costs nothing: the groups that hold the first step are read, and nothing before them.

        Args:
            plan: the order.
            first_step: number of the first batch in the epoch.
            out: (b, 3, 30·seconds) int16 that every batch is written to, over the one before; new memory if None.

        Raises:
            HarnetError: too many blocks are damaged or missing, or nothing can be read.
        """
        config, tally, count = self._config, self._tally, len(self._lanes)
        assert plan.config == config
        tally.expect(len(plan.rows))
        lanes = [
            Lane(self._shards, plan, lane, memory, self._scratch, tally)
            for lane, memory in zip(self._lanes, self._memory, strict=True)
        ]
        in_lane = np.arange(config.per_lane)
        place = (np.array(self._lanes)[:, None] * config.per_lane + in_lane).reshape(-1)
        begins = (np.arange(count) * self._memory.shape[1])[:, None, None]
        axes = np.empty((count, config.per_lane, 3), np.int64)
        shape = (len(place), 3, config.window_seconds * RATE)
        for step in range(first_step, plan.steps):
            blocks, damaged = tally.read, tally.damaged
            for lane, places in zip(lanes, axes, strict=True):
                lane.fill(step * config.per_lane, places)
            windows = self._runs[(axes + begins).reshape(-1)].view(np.int16).reshape(shape)
            if out is not None:
                out[:] = windows
                windows = out
            yield Batch(windows, step * config.batch + place, tally.read - blocks, tally.damaged - damaged)
