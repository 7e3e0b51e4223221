"""The stream of global batches, as tensors of this process's part, from any step of the run on."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data_shards.layout import COUNTS_PER_G
from data_shards.manifest import Manifest
from data_shards.plan import OrderConfig, lanes_of, plan_epoch, steps_per_epoch
from data_shards.stream import Shards, stream
from pretrain.distributed import Process
from pretrain.signals import kept_from_children
from pretrain.transforms.draws import window_keys


@dataclass(frozen=True)
class Part:
    """This process's part of a global batch."""

    windows: Tensor
    """(b, 3, T) int16, counts of 1/4096 g."""
    positions: Tensor
    """(b,) int64, ascending: number of each window in the epoch."""
    epoch: int
    """Number of the epoch, from 0."""


class _Reader(IterableDataset[Part]):
    """What one loader process reads of the run: its lanes, in every global batch, epoch after epoch."""

    def __init__(self, manifest: Manifest, split: str, order: OrderConfig, process: Process, first_step: int) -> None:
        self._manifest, self._split, self._order = manifest, split, order
        self._rank, self._world = process.rank, process.world
        self._first_step = first_step

    def __iter__(self) -> Iterator[Part]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        lanes = lanes_of(self._rank + self._world * number, self._world * workers, self._order.lanes)
        steps = steps_per_epoch(self._manifest, self._split, self._order)
        first_epoch, step = divmod(self._first_step, steps)
        with Shards(self._manifest) as shards:
            for epoch in count(first_epoch):
                plan = plan_epoch(self._manifest, self._split, self._order, epoch)
                for batch in stream(shards, plan, lanes, step if epoch == first_epoch else 0):
                    yield Part(torch.from_numpy(batch.windows), torch.from_numpy(batch.positions), epoch)


def parts(
    manifest: Manifest, split: str, order: OrderConfig, process: Process, workers: int, first_step: int = 0
) -> Iterator[Part]:
    """This process's parts of global batch `first_step` of the run and of all that follow, without end.

    The result does not depend on the number of loader `workers`.

    Raises:
        HarnetError: lanes cannot be dealt out evenly, the split is too small, or a block is damaged.
    """
    lanes_of(process.rank, process.world * max(workers, 1), order.lanes)
    dataset = _Reader(manifest, split, order, process, first_step)
    if workers == 0:
        yield from dataset
        return
    # Not forked: this process has threads by now (gloo, NCCL, OpenMP) that a forked child could wait for for ever.
    context = multiprocessing.get_context("forkserver")
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        pin_memory=process.device.type == "cuda",
        prefetch_factor=4,
    )
    with kept_from_children():
        pieces = iter(loader)
    while True:
        # The loader hands out one element of each worker in turn: together they are one part.
        yield _joined([next(pieces) for _ in range(workers)])


def _joined(pieces: list[Part]) -> Part:
    if len(pieces) == 1:
        return pieces[0]
    positions, order = torch.cat([piece.positions for piece in pieces]).sort()
    return Part(torch.cat([piece.windows for piece in pieces])[order], positions, pieces[0].epoch)


def to_device(part: Part, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Windows as (b, 3, T) float32 in g and their (b,) keys, on the device; int16 is what travels."""
    windows = part.windows.to(device, non_blocking=True).float() / COUNTS_PER_G
    return windows, window_keys(seed, part.epoch, part.positions.to(device, non_blocking=True))
