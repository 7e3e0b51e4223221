"""Fitting a classifier to labelled windows: one deterministic loop for the frozen and the fine-tuned encoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.errors import HarnetError
from harnet.heads import ClassifierModel
from harnet.optimisation import decay_groups, warmup_cosine

PREDICTION_BATCH = 256


@dataclass(frozen=True)
class TrainingConfig:
    """How a classifier is trained. HarnetError where a value cannot work."""

    epochs: int = 15
    """Passes over the training people's windows."""
    batch_size: int = 32
    """Windows in an optimiser step."""
    encoder_learning_rate: float = 3e-4
    """Highest learning rate of the encoder (AdamW, linear warm-up, then cosine to zero)."""
    head_learning_rate: float = 1e-3
    """Highest learning rate of the classifier."""
    weight_decay: float = 0.01
    """Decoupled weight decay of convolution and linear weights; biases and batch normalisation have none."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises."""
    max_gradient_norm: float = 1.0
    """Longer gradients are shortened to this."""
    freeze_encoder: bool = False
    """Train the classifier alone; the encoder's batch statistics stay as they are too."""
    balance_classes: bool = True
    """Weight each window by the inverse of its class's frequency among the training people."""
    seed: int = 0
    """Of fresh parameters and the order of windows. Each fold has its own stream, derived from it."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice. Sums are split by thread, so results repeat to the bit only with the
    same number on the same kind of machine."""
    device: str = "cpu"
    """Such as "cpu" or "cuda"."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "encoder_learning_rate", "head_learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise HarnetError(f"{name} {getattr(self, name)}: must be greater than 0")
        if not 0 <= self.warmup < 1:
            raise HarnetError(f"warmup {self.warmup}: must be at least 0 and less than 1")
        if self.weight_decay < 0 or self.threads < 0 or self.seed < 0:
            raise HarnetError(
                f"weight_decay {self.weight_decay}, threads {self.threads}, seed {self.seed}: none may be negative"
            )

    def steps(self, windows: int) -> int:
        """Optimiser steps of a whole training on so many windows."""
        return self.epochs * math.ceil(windows / self.batch_size)


def fit(
    model: ClassifierModel,
    windows: NDArray[np.float32],
    labels: NDArray[np.int64],
    config: TrainingConfig,
    seed: int,
    on_step: Callable[[], object] = lambda: None,
) -> None:
    """Train `model` in place on windows (N, 3, L) in g and class indices (N,); leaves it in evaluation mode.

    `seed` fixes the order of windows. A frozen encoder runs once over all windows, in evaluation mode, and only its
    features go through the epochs.
    """
    device = torch.device(config.device)
    model.to(device)
    inputs, targets = torch.from_numpy(windows), torch.from_numpy(labels)
    trained: nn.Module = model
    if config.freeze_encoder:
        model.eval()
        inputs, trained = in_batches(lambda x: model.feature_extractor(x).flatten(1), inputs, device), model.classifier
    trained.train()
    classes = model.classifier.linear2.out_features
    weights = class_weights(targets, classes).to(device) if config.balance_classes else None
    optimiser = torch.optim.AdamW(_parameter_groups(model, config))
    total = config.steps(len(targets))
    rising = max(1, round(config.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warmup_cosine(step, total, rising))
    order = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        for batch in torch.randperm(len(targets), generator=order).split(config.batch_size):
            logits = trained(inputs[batch].to(device))
            loss = F.cross_entropy(logits, targets[batch].to(device), weight=weights)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained.parameters(), config.max_gradient_norm)
            optimiser.step()
            schedule.step()
            on_step()
    model.eval()


def predict(model: ClassifierModel, windows: NDArray[np.float32], device: str = "cpu") -> NDArray[np.int64]:
    """Most likely class (N,) of windows (N, 3, L) in g, in evaluation mode."""
    model.to(device).eval()
    return in_batches(model, torch.from_numpy(windows), torch.device(device)).argmax(dim=1).numpy()


def in_batches(function: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device) -> Tensor:
    """`function` of `inputs` (N, ...) in batches without gradients, on the CPU."""
    with torch.no_grad():
        return torch.cat([function(batch.to(device)).cpu() for batch in inputs.split(PREDICTION_BATCH)])


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """(classes,) inverse frequency of each class in `targets` (N,): the mean weight of a window is 1."""
    counts = torch.bincount(targets, minlength=classes)
    # A class that none of the training people did is never a target, so its weight does not matter.
    return len(targets) / (counts.clamp(min=1) * (counts > 0).sum())


def _parameter_groups(model: ClassifierModel, config: TrainingConfig) -> list[dict[str, Any]]:
    rates: list[tuple[nn.Module, float]] = [(model.classifier, config.head_learning_rate)]
    if not config.freeze_encoder:
        rates.insert(0, (model.feature_extractor, config.encoder_learning_rate))
    return [group for module, rate in rates for group in decay_groups(module, rate, config.weight_decay)]
