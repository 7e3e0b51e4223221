"""The stream of global batches: local batches of this rank as tensors, starting at any step of the run."""

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
from data_shards.stream.plan import OrderConfig, lanes_of
from data_shards.stream.planner import Planner
from data_shards.stream.reader import MAX_DAMAGED, LaneReader
from data_shards.stream.remote import RemoteOptions, open_storage
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.shard_files import Shards
from data_shards.withdrawals import read_ids
from harnet.errors import HarnetError
from harnet.prefetch import prefetched
from pretrain.config import DataConfig
from pretrain.parallel.distributed import Process
from pretrain.run.signals import signals_blocked_in_children
from pretrain.transforms.window_random import window_keys


@dataclass(frozen=True)
class LocalBatch:
    """This rank's part of a global batch."""

    windows: Tensor
    """(b, 3, T) int16, counts of 1/4096 g."""
    positions: Tensor
    """(b,) int64, ascending: number of each window in the epoch."""
    epoch: int
    """Number of the epoch, from 0."""
    blocks: int = 0
    """Blocks that were read for it."""
    damaged: int = 0
    """Damaged blocks among them, which were skipped."""


@dataclass(frozen=True)
class LoadingOptions:
    """How shards are read; none of it affects the order of windows."""

    cache: NodeCache = field(default_factory=NodeCache.open)
    """Cache in which the processes of a node share plans."""
    remote: RemoteOptions = field(default_factory=RemoteOptions)
    """Options for shards read over the network; the retry policy also applies to local shards."""
    max_damaged: float = MAX_DAMAGED
    """Share of damaged blocks above which the run stops."""

    @classmethod
    def of(cls, data: DataConfig) -> "LoadingOptions":
        """The options of a run's data section.

        Raises:
            HarnetError: the cache folder cannot be created or is not safe.
        """
        cache = NodeCache.open(data.cache)
        remote = RemoteOptions(
            cache.root / "blocks", int(data.cache_gb * 1e9), RetryPolicy(seconds=60 * data.retry_minutes)
        )
        return cls(cache, remote, data.max_damaged)


def open_manifest(data: DataConfig) -> Manifest:
    """The manifest of a run's shards, without excluded people, shared by the processes of a node.

    Raises:
        HarnetError: there is none, or it or the list of people is damaged.
    """
    source = LoadingOptions.of(data)
    without = read_ids(data.exclude) if data.exclude else frozenset()
    return shared_manifest.open_manifest(str(data.shards), source.cache, without, source.remote)


class _Reader(IterableDataset[LocalBatch | HarnetError]):
    """What one loader process reads: its lanes of every global batch, epoch after epoch."""

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
        """Local batches; a HarnetError comes as the last element: raised here, it would arrive as a long traceback."""
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
        with Shards(self._manifest, storage, self._source.remote.retry_policy) as shards:
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
    """This rank's part of every global batch from step `first_step` on; endless.

    The result does not depend on the number of loader `workers`.

    Raises:
        HarnetError: the lanes cannot be divided evenly, the split is too small, or too many blocks are damaged;
            `Unreachable` if shards could not be read until retries ran out.
    """
    lanes_of(process.rank, process.world * max(workers, 1), order.lanes)
    dataset = _Reader(manifest, split, order, process, source or LoadingOptions(), first_step)
    if workers == 0 and process.device.type == "cpu":
        yield from map(_or_raise, dataset)
        return
    if workers == 0:
        yield from _join(iter(dataset), 1, order.per_lane, process.device)
        return
    # Not forked: this process already has threads (gloo, NCCL, OpenMP), on whose locks a forked child could hang.
    context = multiprocessing.get_context("forkserver")
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        prefetch_factor=4,
        # The loader draws a seed at every start; with its own generator, torch's global one is left untouched.
        generator=torch.Generator(),
    )
    with signals_blocked_in_children():
        pieces = iter(loader)
    # Joining copies the whole batch, and a GPU would idle meanwhile; so it is prefetched.
    yield from prefetched(_join(pieces, workers, order.per_lane, process.device), depth=2)


def _or_raise(found: LocalBatch | HarnetError) -> LocalBatch:
    if isinstance(found, HarnetError):
        raise found
    return found


def _join(
    pieces: Iterator[LocalBatch | HarnetError], workers: int, per_lane: int, device: torch.device
) -> Iterator[LocalBatch]:
    """Local batches, in pinned memory on CUDA, so that copies to the device are asynchronous.

    The loader yields one element of each worker in turn, and together they form one local batch. Lanes are dealt to
    the workers in turn, so worker w has the lanes w, w + workers and so on of this rank.
    """
    pinned = device.type == "cuda"
    if pinned:
        # This may run in its own thread, whose default device is the first GPU: pinning would allocate memory there.
        torch.cuda.set_device(device)
    while True:
        found = [_or_raise(next(pieces)) for _ in range(workers)]
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
    """Windows as (b, 3, T) int16 counts and their (b,) keys, on the device; int16 is what gets transferred."""
    counts = part.windows.to(device, non_blocking=True)
    return counts, window_keys(seed, part.epoch, part.positions.to(device, non_blocking=True))


@atexit.register
def _end_loaders() -> None:
    """Kill loader processes that are left at interpreter exit: they block SIGTERM, so the exit would hang."""
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
