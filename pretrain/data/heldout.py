"""Held-out loss: always the same windows of held-out people, with the same draws, whatever the run."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from data_shards.shards.manifest import Manifest
from data_shards.stream.expectation import due_windows
from pretrain.config import PretrainConfig
from pretrain.data.loading import Part, Source, parts
from pretrain.objectives import Outcome
from pretrain.parallel.distributed import Process

SEED = 0
"""Of the held-out windows and draws: a constant, so that runs with different seeds can be compared."""


class HeldOut:
    """The held-out people of a manifest, dealt out to the processes."""

    def __init__(self, config: PretrainConfig, process: Process, manifest: Manifest) -> None:
        self._process, self._manifest = process, manifest
        rows = manifest.rows("heldout")
        order = config.order()
        self._source = Source.of(config.data)
        due = due_windows(manifest, "heldout", order.window_seconds, order.draws_per_day)
        wanted = min(due, config.data.heldout_windows)
        # No batch may be larger than what there is; lanes must still divide it.
        batch = min(order.batch, wanted // order.lanes * order.lanes)
        self.steps = wanted // batch if batch else 0
        self._order = replace(order, batch=max(batch, order.lanes), seed=SEED)
        people = manifest.people(rows)
        self.description = f"{people} people, {self.steps * batch} windows" if self.steps else "none"

    def evaluate(self, network: nn.Module, outcome: Callable[[nn.Module, Part, int], Outcome]) -> dict[str, float]:
        """Means over the held-out windows of the objective's metrics; empty without such people.

        `network` runs in evaluation mode, with the first process's batch statistics, and comes back in the mode it was
        in. `outcome` takes it, a part of a batch and the seed of the draws.
        """
        if not self.steps:
            return {}
        training = network.training
        network.eval()
        with torch.no_grad():
            for buffer in network.buffers():
                self._process.broadcast(buffer)
        batches = parts(self._manifest, "heldout", self._order, self._process, workers=0, source=self._source)
        collected: list[dict[str, Tensor]] = []
        with torch.inference_mode():
            for _ in range(self.steps):
                collected.append(outcome(network, next(batches), SEED).metrics)
        network.train(training)
        total = torch.stack([torch.stack(list(metrics.values())).double() for metrics in collected]).sum(dim=0)
        # Sent by one process, so that all of them decide on the same bits whether to stop.
        means = self._process.broadcast(self._process.sum(total)) / (self.steps * self._process.world)
        return dict(zip(collected[0], means.tolist(), strict=True))
