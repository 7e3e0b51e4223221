"""From a plan to batches: combines the windows of all lanes of a process."""

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
"""Default share of damaged blocks above which a run stops."""


@dataclass(frozen=True)
class LaneBatch:
    """One reader's share of a global batch."""

    windows: NDArray[np.int16]
    """(b, 3, 30·seconds) counts of 1/4096 g."""
    positions: NDArray[np.int64]
    """(b,) index of each window in the epoch: step · batch + index in the global batch. It keys the augmentation."""
    blocks: int
    """Number of blocks read for it."""
    damaged: int
    """Number of damaged blocks among them, which were skipped."""


class LaneReader:
    """Reads some lanes of a run, epoch after epoch, in one process.

    Its memory, one shuffle group per lane (3.7 MB for ten-second windows by default), is allocated once.
    """

    def __init__(self, shards: Shards, config: OrderConfig, lanes: range, max_damaged: float = MAX_DAMAGED) -> None:
        self._shards, self._config, self._lanes = shards, config, lanes
        self._tally = DamageTally(max_damaged)
        self._memory = np.empty((len(lanes), config.group, 3, config.window_seconds * RATE), np.int16)
        self._scratch = np.empty(SCRATCH_BYTES, np.uint8)

    def batches(
        self, plan: EpochPlan, first_step: int = 0, out: NDArray[np.int16] | None = None
    ) -> Iterator[LaneBatch]:
        """Yield this reader's shares of global batches, from `first_step` to the end of the epoch.

        Seeking is free: only the groups that contain the first step are read, nothing before them.

        Args:
            plan: the order.
            first_step: index of the first batch in the epoch.
            out: contiguous buffer (b, 3, 30·seconds) int16 that every batch is written to, overwriting the last; None
                allocates new memory.

        Raises:
            HarnetError: too many blocks are damaged or missing, or none can be read.
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
                lane.copy_windows(step * each, items[number * each : (number + 1) * each])
            yield LaneBatch(windows, step * config.batch + place, tally.read - blocks, tally.damaged - damaged)
