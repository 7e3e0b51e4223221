"""Several objectives on one batch: one encoder, a head for each, and a weighted sum of their losses."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from data_shards.layout import RATE
from pretrain.objectives.objective import Objective, ObjectiveOutput, PreparedBatch
from pretrain.transforms.window_random import child_keys


class MixtureModel(nn.Module):
    """One encoder for the windows of all objectives together, then each objective's head: (M, 3, L) in g -> tuple.

    `networks` are built by the objectives; the encoder of the first one is kept. `views` is the number of network
    inputs that each objective makes per window, by which the rows of the input are split.
    """

    def __init__(self, networks: Mapping[str, nn.Module], views: Sequence[int]) -> None:
        super().__init__()
        self.feature_extractor = next(iter(networks.values())).get_submodule("feature_extractor")
        for network in networks.values():
            # Only the head remains, which now takes features instead of windows.
            network.feature_extractor = nn.Identity()
        self.heads = nn.ModuleDict(networks)
        self._views = tuple(views)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The output of each objective's network for its rows."""
        each = len(x) // sum(self._views)
        parts = self.feature_extractor(x).split([each * views for views in self._views])
        return tuple(head(features) for head, features in zip(self.heads.values(), parts, strict=True))


class Mixture:
    """Every objective gets every window, with its own draws; if it needs shorter windows, it gets their beginning."""

    def __init__(self, parts: Mapping[str, Objective], weights: Sequence[float]) -> None:
        self.parts, self.weights = dict(parts), tuple(weights)
        self.seconds = max(part.seconds for part in parts.values())

    def build(self) -> nn.Module:
        """One encoder with the heads of all objectives."""
        window, key = torch.zeros(1, 3, self.seconds * RATE, dtype=torch.int16), torch.zeros(1, dtype=torch.int64)
        views = [len(part.prepare(window[..., : part.seconds * RATE], key).inputs) for part in self.parts.values()]
        return MixtureModel({name: part.build() for name, part in self.parts.items()}, views)

    def prepare(self, windows: Tensor, keys: Tensor) -> PreparedBatch:
        """The inputs of all objectives, concatenated; targets are named "objective/target"."""
        inputs: list[Tensor] = []
        targets: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            prepared = part.prepare(windows[..., : part.seconds * RATE], child_keys(keys, name))
            inputs.append(prepared.inputs)
            targets |= {f"{name}/{target}": value for target, value in prepared.targets.items()}
        return PreparedBatch(torch.cat(inputs), targets)

    def score(self, outputs: tuple[Tensor, ...], targets: dict[str, Tensor]) -> ObjectiveOutput:
        """The weighted sum of the losses; metrics are named "objective/metric"."""
        total, metrics = torch.zeros((), device=outputs[0].device), dict[str, Tensor]()
        for (name, part), weight, output in zip(self.parts.items(), self.weights, outputs, strict=True):
            own = {key.removeprefix(f"{name}/"): value for key, value in targets.items() if key.startswith(f"{name}/")}
            found = part.score(output, own)
            total = total + weight * found.loss
            metrics |= {f"{name}/{metric}": value for metric, value in found.metrics.items()}
        return ObjectiveOutput(total, metrics | {"loss": total.detach()})
