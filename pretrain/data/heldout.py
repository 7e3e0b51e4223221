"""Held-out loss: on a fixed list of windows of held-out people with fixed draws, the same for every run on a manifest.

The list depends only on the manifest, the window length and `data.heldout_windows`: not on batch size, lanes, seed,
world size or loader processes. It is a separate epoch in the order of `data_shards.stream`, with few windows per hour,
cut into pieces of fixed length; each piece is one lane, and the pieces are dealt to the ranks in turn. A rank reads its
pieces once and keeps them in memory.
"""

import json
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from data_shards.shards.manifest import Manifest
from data_shards.stream.expectation import due_windows
from data_shards.stream.plan import OrderConfig
from data_shards.stream.planner import Planner
from data_shards.stream.reader import LaneReader
from data_shards.stream.remote import open_storage
from data_shards.stream.shard_files import Shards
from pretrain.config import PretrainConfig
from pretrain.data.loading import LoadingOptions, LocalBatch
from pretrain.objectives import ObjectiveOutput
from pretrain.parallel.distributed import Process

SEED = 0
"""Seed of the held-out windows and draws: a constant, so that runs with different seeds can be compared."""
PIECE = 256
"""Maximum number of windows per piece. An objective that compares windows compares those of one piece."""
PER_HOUR = 8
"""Windows per hour in the list: it is read only once, so covering many hours matters more than reading few bytes."""
DRAWS_PER_DAY = 1500
"""Maximum number of windows per person-day in the list; person-days are drawn in proportion to it."""


class HeldOut:
    """The held-out windows of a manifest, dealt out to the ranks."""

    def __init__(self, config: PretrainConfig, process: Process, manifest: Manifest) -> None:
        self._process, self._manifest = process, manifest
        self._source = LoadingOptions.of(config.data)
        seconds = config.order().window_seconds
        due = due_windows(manifest, "heldout", seconds, DRAWS_PER_DAY)
        wanted = min(due, config.data.heldout_windows)
        self.pieces = -(-wanted // PIECE)
        each = wanted // self.pieces if wanted else 0
        self.windows = self.pieces * each
        people = manifest.people(manifest.rows("heldout"))
        self.description = f"{people} people, {self.windows} windows" if self.windows else "none"
        if self.windows:
            self._order = OrderConfig(seconds, self.windows, self.pieces, SEED, DRAWS_PER_DAY, PER_HOUR, each)

    def evaluate(
        self, network: nn.Module, outcome: Callable[[nn.Module, LocalBatch, int], ObjectiveOutput]
    ) -> dict[str, float]:
        """The objective's metrics, averaged over the held-out windows; empty if nobody is held out.

        `network` runs in evaluation mode with the batch statistics of rank 0, and is returned to its previous mode.
        `outcome` is called with it, a piece and the seed of the draws; the number of calls differs between ranks.
        """
        if not self.windows:
            return {}
        training = network.training
        network.eval()
        with torch.no_grad():
            for buffer in network.buffers():
                self._process.broadcast(buffer)
        with torch.inference_mode():
            found = {number: outcome(network, piece, SEED).metrics for number, piece in self.own.items()}
        network.train(training)
        names: list[str] = json.loads(self._process.broadcast_text(json.dumps(list(found[0])) if 0 in found else ""))
        # Each rank fills in the rows of its pieces: adding zeros is exact, so the mean does not depend on which did.
        rows = torch.zeros(self.pieces, len(names), dtype=torch.float64, device=self._process.device)
        for number, metrics in found.items():
            rows[number] = torch.stack([metrics[name] for name in names])
        # Broadcast from rank 0, so that all ranks decide about early stopping on the same bits.
        means = self._process.broadcast(self._process.sum(rows).mean(dim=0))
        return dict(zip(names, means.tolist(), strict=True))

    @cached_property
    def own(self) -> dict[int, LocalBatch]:
        """The pieces of this rank, by number."""
        lanes = range(self._process.rank, self.pieces, self._process.world)
        if not lanes:
            return {}
        plan = Planner(self._manifest, "heldout", self._order, self._source.cache).plan(0)
        storage = open_storage(self._manifest, self._source.remote)
        with Shards(self._manifest, storage, self._source.remote.retry_policy) as shards:
            batch = next(LaneReader(shards, self._order, lanes, self._source.max_damaged).batches(plan))
        windows: list[Tensor] = list(torch.from_numpy(batch.windows).chunk(len(lanes)))
        positions = torch.from_numpy(batch.positions).chunk(len(lanes))
        return {
            lane: LocalBatch(own, places, epoch=0) for lane, own, places in zip(lanes, windows, positions, strict=True)
        }
