"""The stream of global batches, as tensors of this process's part, from any step of the run on."""

import atexit
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data_shards.shards.manifest import Manifest
from data_shards.stream import descriptors, shared_manifest
from data_shards.stream.node_cache import NodeCache
from data_shards.stream.patience import Patience
from data_shards.stream.plan import OrderConfig, lanes_of
from data_shards.stream.planner import Planner
from data_shards.stream.reader import MAX_DAMAGED, LaneReader
from data_shards.stream.remote import RemoteOptions, open_storage
from data_shards.stream.shard_files import Shards
from data_shards.withdrawals import read_ids
from harnet.errors import HarnetError
from pretrain.config import DataConfig
from pretrain.data.prefetch import prefetched
from pretrain.parallel.distributed import Process
from pretrain.run.signals import signals_blocked_in_children
from pretrain.transforms.window_random import window_keys


@dataclass(frozen=True)
class LocalBatch:
    """This process's part of a global batch."""

    windows: Tensor
    """(b, 3, T) int16, counts of 1/4096 g."""
    positions: Tensor
    """(b,) int64, ascending: number of each window in the epoch."""
    epoch: int
    """Number of the epoch, from 0."""
    blocks: int = 0
    """Blocks that were read for it."""
    damaged: int = 0
    """Those of them that were damaged, and were skipped."""


@dataclass(frozen=True)
class LoadingOptions:
    """How shards are read, which decides nothing about the order."""

    cache: NodeCache = field(default_factory=NodeCache.open)
    """Where the processes of a node share plans."""
    remote: RemoteOptions = field(default_factory=RemoteOptions)
    """Of shards that are read over the network; its patience holds for local ones as well."""
    max_damaged: float = MAX_DAMAGED
    """Share of damaged blocks above which a run stops."""

    @classmethod
    def of(cls, data: DataConfig) -> "LoadingOptions":
        """What a run's options say of it.

        Raises:
            HarnetError: the cache folder cannot be made or is not safe.
        """
        cache = NodeCache.open(data.cache)
        remote = RemoteOptions(
            cache.root / "blocks", int(data.cache_gb * 1e9), Patience(seconds=60 * data.retry_minutes)
        )
        return cls(cache, remote, data.max_damaged)


def open_manifest(data: DataConfig) -> Manifest:
    """The manifest of a run's shards, without those who are excluded, shared by the processes of a node.

    Raises:
        HarnetError: there is none, or it or the list of people is damaged.
    """
    source = LoadingOptions.of(data)
    without = read_ids(data.exclude) if data.exclude else frozenset()
    return shared_manifest.open_manifest(str(data.shards), source.cache, without, source.remote)


class _Reader(IterableDataset[LocalBatch | HarnetError]):
    """What one loader process reads of the run: its lanes, in every global batch, epoch after epoch."""

    def __init__(
        self,
        manifest: Manifest,
        split: str,
        order: OrderConfig,
        process: Process,
        source: LoadingOptions,
        first_step: int,
    ) -> None:
        self._manifest, self._split, self._order, self._source = manifest, split, order, source
        self._rank, self._world = process.rank, process.world
        self._first_step = first_step

    def __iter__(self) -> Iterator[LocalBatch | HarnetError]:
        """Parts; a user's error comes last, as an element: raised in a loader process it would be a page of text."""
        try:
            yield from self._parts()
        except HarnetError as error:
            yield error

    def _parts(self) -> Iterator[LocalBatch]:
        descriptors.raise_limit()
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        lanes = lanes_of(self._rank + self._world * number, self._world * workers, self._order.lanes)
        planner = Planner(self._manifest, self._split, self._order, self._source.cache)
        first_epoch, step = divmod(self._first_step, planner.steps)
        storage = open_storage(self._manifest, self._source.remote)
        with Shards(self._manifest, storage, self._source.remote.patience) as shards:
            reader = LaneReader(shards, self._order, lanes, self._source.max_damaged)
            for epoch in count(first_epoch):
                plan = planner.plan(epoch)
                for batch in reader.batches(plan, step if epoch == first_epoch else 0):
                    windows, positions = torch.from_numpy(batch.windows), torch.from_numpy(batch.positions)
                    yield LocalBatch(windows, positions, epoch, batch.blocks, batch.damaged)


def local_batches(
    manifest: Manifest,
    split: str,
    order: OrderConfig,
    process: Process,
    workers: int,
    first_step: int = 0,
    source: LoadingOptions | None = None,
) -> Iterator[LocalBatch]:
    """This process's parts of global batch `first_step` of the run and of all that follow, without end.

    The result does not depend on the number of loader `workers`.

    Raises:
        HarnetError: lanes cannot be dealt out evenly, the split is too small, or too many blocks are damaged;
            `Unreachable` if shards could not be read for as long as the source's patience lasts.
    """
    lanes_of(process.rank, process.world * max(workers, 1), order.lanes)
    dataset = _Reader(manifest, split, order, process, source or LoadingOptions(), first_step)
    if workers == 0 and process.device.type == "cpu":
        yield from map(_sound, dataset)
        return
    if workers == 0:
        yield from _joined(iter(dataset), 1, order.per_lane, process.device)
        return
    # Not forked: this process has threads by now (gloo, NCCL, OpenMP) that a forked child could wait for for ever.
    context = multiprocessing.get_context("forkserver")
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        prefetch_factor=4,
        # It draws a seed for each start; from a generator of its own, torch's is the same however often a run starts.
        generator=torch.Generator(),
    )
    with signals_blocked_in_children():
        pieces = iter(loader)
    # Joining copies the whole batch, which a GPU would stand still for: by then it has finished the last one.
    yield from prefetched(_joined(pieces, workers, order.per_lane, process.device), depth=2)


def _sound(found: LocalBatch | HarnetError) -> LocalBatch:
    if isinstance(found, HarnetError):
        raise found
    return found


def _joined(
    pieces: Iterator[LocalBatch | HarnetError], workers: int, per_lane: int, device: torch.device
) -> Iterator[LocalBatch]:
    """Parts, in memory that a GPU can copy from by itself while the host goes on.

    The loader hands out one element of each worker in turn: together they are one part. Lanes are dealt to workers in
    turn, so that the lanes of worker w are numbers w, w + workers and so on of this process's.
    """
    pinned = device.type == "cuda"
    if pinned:
        # This may run in a thread of its own, which would pin memory with the first GPU, and take some of that.
        torch.cuda.set_device(device)
    while True:
        found = [_sound(next(pieces)) for _ in range(workers)]
        lanes = sum(len(piece.positions) for piece in found) // per_lane
        shape = found[0].windows.shape[1:]
        windows = torch.empty(lanes // workers, workers, per_lane, *shape, dtype=torch.int16, pin_memory=pinned)
        positions = torch.empty(lanes // workers, workers, per_lane, dtype=torch.int64, pin_memory=pinned)
        for worker, piece in enumerate(found):
            windows[:, worker] = piece.windows.view(-1, per_lane, *shape)
            positions[:, worker] = piece.positions.view(-1, per_lane)
        blocks, damaged = sum(piece.blocks for piece in found), sum(piece.damaged for piece in found)
        yield LocalBatch(windows.flatten(0, 2), positions.flatten(), found[0].epoch, blocks, damaged)


def to_device(part: LocalBatch, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Windows as (b, 3, T) int16 counts and their (b,) keys, on the device; what travels is int16."""
    counts = part.windows.to(device, non_blocking=True)
    return counts, window_keys(seed, part.epoch, part.positions.to(device, non_blocking=True))


@atexit.register
def _end_loaders() -> None:
    """Kill loader processes that are left when the interpreter ends: they block TERM, and it would wait for ever."""
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
