"""Held-out loss: always the same windows of held-out people, with the same draws, whatever the run."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from data_shards.shards.manifest import Manifest
from data_shards.stream.expectation import due_windows
from pretrain.config import PretrainConfig
from pretrain.distributed import Process
from pretrain.loading import Source, parts, to_device
from pretrain.objectives import Forward, Objective

SEED = 0
"""Of the held-out windows and draws: a constant, so that runs with different seeds can be compared."""


class HeldOut:
    """The held-out people of a manifest, dealt out to the processes."""

    def __init__(self, config: PretrainConfig, process: Process, objective: Objective, manifest: Manifest) -> None:
        self._process, self._objective, self._manifest = process, objective, manifest
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

    def evaluate(self, network: nn.Module, forward: Forward) -> dict[str, float]:
        """Means over the held-out windows of the objective's metrics, in evaluation mode; empty without such people."""
        if not self.steps:
            return {}
        network.eval()
        batches = parts(self._manifest, "heldout", self._order, self._process, workers=0, source=self._source)
        collected: list[dict[str, Tensor]] = []
        with torch.inference_mode():
            for _ in range(self.steps):
                windows, keys = to_device(next(batches), SEED, self._process.device)
                collected.append(self._objective(forward, windows, keys).metrics)
        network.train()
        total = torch.stack([torch.stack(list(metrics.values())).double() for metrics in collected]).sum(dim=0)
        means = self._process.sum(total) / (self.steps * self._process.world)
        return dict(zip(collected[0], means.tolist(), strict=True))
