"""Multi-task self-supervision: which transforms were applied to this window? (Yuan et al. 2024, after Saeed 2019)"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.heads import PRETEXT_HEADS, PretextModel
from pretrain.config import ModelConfig, MultiTaskConfig
from pretrain.objectives import Forward, Outcome
from pretrain.transforms import draws, orientation, permutation, reversal, scaling, texture, time_warp

ORDER = ("reversal", "scaling", "permutation", "time_warp")
"""In which the transforms are applied; also that of the heads."""
assert tuple(PRETEXT_HEADS) == ORDER


class MultiTask:
    """Each transform is applied to each window with probability one half; a head for each says whether it was."""

    def __init__(self, config: MultiTaskConfig, model: ModelConfig) -> None:
        self.config = config
        self.model = model
        self._apply: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "reversal": lambda x, keys: reversal.reverse(x),
            "scaling": lambda x, keys: scaling.scale(x, scaling.draw_factors(keys)),
            "permutation": self._permute,
            "time_warp": _warp,
        }

    def build(self) -> nn.Module:
        """Encoder and four heads that start at zero, so that the first loss is ln 2."""
        model = self.model
        return PretextModel(model.architecture, model.standardise, model.initialisation, zero_heads=True)

    def __call__(self, network: Forward, windows: Tensor, keys: Tensor) -> Outcome:
        """Mean cross-entropy of the configured tasks, and loss and accuracy of each."""
        labels = self.draw_labels(keys)
        logits = network(self.transform(windows, keys, labels)).float()
        losses, metrics = [], {}
        for task in (task for task in ORDER if task in self.config.tasks):
            place = ORDER.index(task)
            loss = F.cross_entropy(logits[:, place], labels[:, place])
            losses.append(loss)
            metrics[f"loss/{task}"] = loss.detach()
            metrics[f"accuracy/{task}"] = (logits[:, place].argmax(1) == labels[:, place]).float().mean()
        loss = torch.stack(losses).mean()
        # Heads that are not trained still take part, with a gradient of zero: DDP waits for every parameter.
        return Outcome(loss + 0.0 * logits.sum(), metrics | {"loss": loss.detach()})

    def draw_labels(self, keys: Tensor) -> Tensor:
        """(N, 4) int64, 1 where a task's transform is applied; always 0 for tasks that are not configured."""
        labels = draws.integers(keys, "labels", 2, len(ORDER))
        return labels * torch.tensor([task in self.config.tasks for task in ORDER], device=keys.device)

    def transform(self, windows: Tensor, keys: Tensor, labels: Tensor) -> Tensor:
        """The windows with the labelled transforms in order, then a random orientation: (N, 3, T) -> (N, 3, T)."""
        x = windows
        for place, task in enumerate(ORDER):
            if task in self.config.tasks:
                x = torch.where(labels[:, place, None, None] == 1, self._apply[task](x, keys), x)
        if self.config.orientation:
            x = orientation.reorder_axes(x, orientation.draw_axis_order(keys))
            x = orientation.rotate(x, orientation.rotation_matrix(*orientation.draw_rotation(keys)))
        if self.config.low_pass_hz:
            x = texture.low_pass(x, self.config.low_pass_hz)
        if self.config.noise_g:
            x = texture.add_noise(x, texture.draw_noise(keys, x.shape[-1]), self.config.noise_g)
        return x

    def _permute(self, x: Tensor, keys: Tensor) -> Tensor:
        bounds = permutation.draw_bounds(keys, x.shape[-1])
        return permutation.permute(x, bounds, permutation.draw_order(keys, self.config.identity_permutations))


def _warp(x: Tensor, keys: Tensor) -> Tensor:
    return time_warp.warp(x, time_warp.warped_positions(time_warp.draw_knots(keys), x.shape[-1]))
