"""A plan → batches: reads the blocks that the plan visits, checks their hash, cuts out the windows."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.block import digest, from_range, window_starts
from data_shards.layout import RATE
from data_shards.manifest import Manifest
from data_shards.plan import EpochPlan, draw_starts
from harnet.errors import HarnetError


@dataclass(frozen=True)
class Batch:
    """One reader's part of a global batch."""

    windows: NDArray[np.int16]
    """(b, 3, 30·seconds) counts of 1/4096 g."""
    positions: NDArray[np.int64]
    """(b,) number of each window in the epoch: step · batch + place in the global batch. It keys the augmentation."""


class Shards:
    """Byte ranges of a shard folder, by manifest row. Files are opened once, on first use."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._files: dict[int, int] = {}

    def read(self, row: int) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.uint8]]:
        """Signal (3, n), motion (n / 30,) and wear (n / 30,) of a block.

        Raises:
            HarnetError: the shard is missing or the block's bytes are not those of the manifest.
        """
        columns = self.manifest.columns
        length = int(columns["length"][row])
        content = os.pread(self._file(int(columns["shard"][row])), length, int(columns["offset"][row]))
        if len(content) != length or digest(content) != columns["hash"][row]:
            raise HarnetError(
                f"{self.manifest.name_of(row)}: damaged; `harnet verify` lists what is wrong and the remedy"
            )
        return from_range(memoryview(content), int(columns["samples"][row]))

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            path = self.manifest.folder / self.manifest.shards[shard].name
            try:
                self._files[shard] = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                raise HarnetError(f"{path}: missing; `harnet verify` lists what is wrong and the remedy") from None
        return self._files[shard]

    def close(self) -> None:
        """Close all files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stream(shards: Shards, plan: EpochPlan, lanes: range, first_step: int = 0) -> Iterator[Batch]:
    """The parts of global batches `first_step` to the epoch's last that come from `lanes`.

    Seeking costs nothing: the groups that hold the first step are read, and nothing before them.

    Raises:
        HarnetError: a block is damaged or missing.
    """
    config = plan.config
    readers = [_Lane(shards, plan, lane) for lane in lanes]
    place = np.concatenate([np.arange(lane * config.per_lane, (lane + 1) * config.per_lane) for lane in lanes])
    for step in range(first_step, plan.steps):
        windows = np.empty((len(place), 3, config.window_seconds * RATE), np.int16)
        for number, reader in enumerate(readers):
            part = slice(number * config.per_lane, (number + 1) * config.per_lane)
            reader.read(step * config.per_lane, windows[part])
        yield Batch(windows, step * config.batch + place)


class _Lane:
    """One lane's windows in the order of delivery, a shuffle group in memory at a time."""

    def __init__(self, shards: Shards, plan: EpochPlan, lane: int) -> None:
        self._shards, self._plan, self._lane = shards, plan, lane
        self._number = -1
        self._group = np.empty((0, 3, 0), np.int16)

    def read(self, first: int, out: NDArray[np.int16]) -> None:
        """Fill `out` with the lane's windows number `first` and on."""
        size, done = self._plan.config.shuffle_windows, 0
        while done < len(out):
            number, offset = divmod(first + done, size)
            if number != self._number:
                self._group, self._number = self._load(number), number
            part = self._group[offset : offset + len(out) - done]
            out[done : done + len(part)] = part
            done += len(part)

    def _load(self, number: int) -> NDArray[np.int16]:
        plan, config = self._plan, self._plan.config
        positions, order = plan.group(self._lane, number)
        # Where each window goes once shuffled, so that cutting out and shuffling are one copy.
        target = np.empty_like(order)
        target[order] = np.arange(len(order))
        group = np.empty((len(positions), 3, config.window_seconds * RATE), np.int16)
        visits = np.searchsorted(plan.ends, positions, side="right")
        for visit in np.unique(visits):
            here = np.flatnonzero(visits == visit)
            start = int(plan.ends[visit - 1]) if visit else 0
            _cut(self._shards, plan, int(visit), positions[here] - start, group, target[here])
        return group


def _cut(
    shards: Shards,
    plan: EpochPlan,
    visit: int,
    numbers: NDArray[np.int64],
    out: NDArray[np.int16],
    target: NDArray[np.int64],
) -> None:
    """Write the `numbers`-th windows of a visit to out[target]."""
    config, row = plan.config, int(plan.rows[visit])
    count = int(plan.ends[visit] - (plan.ends[visit - 1] if visit else 0))
    accel, motion, wear = shards.read(row)
    candidates = window_starts(wear, config.window_seconds)
    starts = draw_starts(candidates, motion, count, config, plan.epoch, row)[numbers]
    width = config.window_seconds * RATE
    for start, place in zip((starts * RATE).tolist(), target.tolist(), strict=True):
        out[place] = accel[:, start : start + width]
