"""A plan → batches: what all lanes of a process give to each of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import RATE
from data_shards.stream.damage import DamageTally
from data_shards.stream.lane import SCRATCH_BYTES, Lane, as_items
from data_shards.stream.plan import EpochPlan, OrderConfig
from data_shards.stream.shard_files import Shards

MAX_DAMAGED = 0.001
"""Share of damaged blocks above which a run stops."""


@dataclass(frozen=True)
class LaneBatch:
    """One reader's part of a global batch."""

    windows: NDArray[np.int16]
    """(b, 3, 30·seconds) counts of 1/4096 g."""
    positions: NDArray[np.int64]
    """(b,) number of each window in the epoch: step · batch + place in the global batch. It keys the augmentation."""
    blocks: int
    """Blocks that were read for it."""
    damaged: int
    """Those of them that were damaged, and were skipped."""


class LaneReader:
    """Reads some lanes of a run, epoch after epoch, in one process.

    Its memory, a shuffle group of each lane (3.7 MB of ten-second windows by default), is taken once.
    """

    def __init__(self, shards: Shards, config: OrderConfig, lanes: range, max_damaged: float = MAX_DAMAGED) -> None:
        self._shards, self._config, self._lanes = shards, config, lanes
        self._tally = DamageTally(max_damaged)
        self._memory = np.empty((len(lanes), config.group, 3, config.window_seconds * RATE), np.int16)
        self._scratch = np.empty(SCRATCH_BYTES, np.uint8)

    def batches(
        self, plan: EpochPlan, first_step: int = 0, out: NDArray[np.int16] | None = None
    ) -> Iterator[LaneBatch]:
        """This reader's parts of global batches `first_step` to the epoch's last.

        Seeking costs nothing: the groups that hold the first step are read, and nothing before them.

        Args:
            plan: the order.
            first_step: number of the first batch in the epoch.
            out: (b, 3, 30·seconds) int16, contiguous, that every batch is written to, over the one before; new memory
                if None.

        Raises:
            HarnetError: too many blocks are damaged or missing, or nothing can be read.
        """
        config, tally, each = self._config, self._tally, self._config.per_lane
        assert plan.config == config
        tally.expect(len(plan.rows))
        lanes = [
            Lane(self._shards, plan, lane, memory, self._scratch, tally)
            for lane, memory in zip(self._lanes, self._memory, strict=True)
        ]
        place = (np.array(self._lanes)[:, None] * each + np.arange(each)).reshape(-1)
        for step in range(first_step, plan.steps):
            blocks, damaged = tally.read, tally.damaged
            windows = np.empty((len(place), *self._memory.shape[2:]), np.int16) if out is None else out
            items = as_items(windows)
            for number, lane in enumerate(lanes):
                lane.give(step * each, items[number * each : (number + 1) * each])
            yield LaneBatch(windows, step * config.batch + place, tally.read - blocks, tally.damaged - damaged)
