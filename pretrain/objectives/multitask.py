"""Multi-task self-supervision: which transforms were applied to this window? (Yuan et al. 2024, after Saeed 2019)"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_shards.layout import RATE
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS, PretextModel
from pretrain.model import ModelConfig
from pretrain.objectives.objective import ObjectiveOutput, PreparedBatch
from pretrain.transforms import chain, counts, texture, window_random
from pretrain.transforms.constants import constant
from pretrain.validation import at_least

Task = Literal["reversal", "scaling", "permutation", "time_warp"]

ORDER = tuple(chain.LABELLED)
"""Order in which the transforms are applied; also the order of the heads."""
assert tuple(PRETEXT_HEADS) == ORDER


@dataclass(frozen=True)
class MultiTaskConfig:
    """Which transforms must be recognised."""

    tasks: tuple[Task, ...] = ("reversal", "permutation", "time_warp")
    """Each is applied to a window with probability 0.5; the published final model uses these three."""
    identity_permutations: bool = False
    """Allow the identity, 1 permutation in 24, as the published code does."""
    orientation: bool = True
    """Rotate every window to a random orientation of the device; not a task."""
    low_pass_hz: float = 0.0
    """Low-pass all windows after the transforms, to remove their artefacts; 0 disables it, as published."""
    noise_g: float = 0.0
    """Standard deviation of white noise added to all windows after that; 0 disables it, as published."""

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise HarnetError(f"multitask.tasks is {self.tasks}; it must name at least one task, and none twice")
        at_least(0, "multitask", {"low_pass_hz": self.low_pass_hz, "noise_g": self.noise_g})
        if self.low_pass_hz >= RATE / 2:
            raise HarnetError(f"multitask.low_pass_hz is {self.low_pass_hz}; it must be below {RATE / 2}, or 0")

    def objective(self, model: ModelConfig) -> "MultiTask":
        """The objective with these options."""
        return MultiTask(self, model)


class MultiTask:
    """Each transform is applied to each window with probability 0.5; a head per transform predicts whether it was."""

    def __init__(self, config: MultiTaskConfig, model: ModelConfig) -> None:
        self.config, self.model, self.seconds = config, model, model.seconds
        self._places = [place for place, task in enumerate(ORDER) if task in config.tasks]
        every: dict[str, chain.Transform] = {
            **chain.LABELLED,
            "permutation": partial(chain.permuted, allow_identity=config.identity_permutations),
        }
        self._transforms = {ORDER[place]: every[ORDER[place]] for place in self._places}

    def build(self) -> nn.Module:
        """Encoder and four heads that start at zero, so that the first loss is ln 2."""
        model = self.model
        return PretextModel(
            model.architecture, model.standardise, model.initialisation, zero_heads=True, width=model.width
        )

    def prepare(self, windows: Tensor, keys: Tensor) -> PreparedBatch:
        """Transformed windows, and "labels" (N, 4) int64."""
        labels = self.draw_labels(keys)
        return PreparedBatch(self.transform(counts.to_g(windows), keys, labels), {"labels": labels})

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> ObjectiveOutput:
        """Mean cross-entropy of the configured tasks, and loss and accuracy of each."""
        logits, labels = outputs.float(), targets["labels"]
        losses, metrics = [], {}
        for place in self._places:
            loss = F.cross_entropy(logits[:, place], labels[:, place])
            losses.append(loss)
            metrics[f"loss/{ORDER[place]}"] = loss.detach()
            metrics[f"accuracy/{ORDER[place]}"] = (logits[:, place].argmax(1) == labels[:, place]).float().mean()
        loss = torch.stack(losses).mean()
        # Untrained heads take part with a gradient of zero, because DDP waits for every parameter.
        return ObjectiveOutput(loss + 0.0 * logits.sum(), metrics | {"loss": loss.detach()})

    def draw_labels(self, keys: Tensor) -> Tensor:
        """(N, 4) int64, 1 where a task's transform is applied; always 0 for tasks that are not configured."""
        configured = constant(tuple(int(place in self._places) for place in range(len(ORDER))), keys.device)
        return window_random.integers(keys, "labels", 2, len(ORDER)) * configured

    def transform(self, x: Tensor, keys: Tensor, labels: Tensor) -> Tensor:
        """The windows with the labelled transforms in order, then a random orientation: (N, 3, T) g -> (N, 3, T)."""
        applied = [labels[:, place] == 1 for place in self._places]
        x = chain.apply_to_some(x, keys, self._transforms, applied)
        if self.config.orientation:
            x = chain.reoriented(x, keys)
        if self.config.low_pass_hz:
            x = texture.low_pass(x, self.config.low_pass_hz)
        if self.config.noise_g:
            x = texture.add_noise(x, texture.draw_noise(keys, x.shape[-1]), self.config.noise_g)
        return x
