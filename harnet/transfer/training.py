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

STAGES = 5
"""Of every encoder."""

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Windows (N, 3, L) in g and class indices (N,)."""


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
    trained_stages: int = STAGES
    """Train so many of the encoder's five stages, counted from its output; the others stay as they are, their batch
    statistics too."""
    layer_decay: float = 1.0
    """Each stage further from the output learns at the rate of the next one times this (Howard and Ruder 2018, section
    3.2, where it is 1 / 2.6)."""
    patience: int = 0
    """Stop after so many epochs in a row in which the loss on people set aside from training did not fall, and go back
    to the best; 0 trains all epochs on everybody."""
    min_steps: int = 0
    """Do not stop before so many optimiser steps."""
    validation_share: float = 0.2
    """With patience: share of the training people that is set aside."""
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
        if not 1 <= self.trained_stages <= STAGES:
            raise HarnetError(f"trained_stages {self.trained_stages}: from 1 to {STAGES}; none is --freeze-encoder")
        if not 0 < self.layer_decay <= 1:
            raise HarnetError(f"layer_decay {self.layer_decay}: must be greater than 0 and at most 1")
        if self.patience < 0 or self.min_steps < 0 or not 0 < self.validation_share < 1:
            raise HarnetError(f"patience {self.patience}, min_steps {self.min_steps}, validation_share "
                              f"{self.validation_share}: not negative, and a share between 0 and 1")  # fmt: skip
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
    validation: Labelled | None = None,
) -> int:
    """Train `model` in place on windows (N, 3, L) in g and class indices (N,); leaves it in evaluation mode.

    Returns the optimiser steps after which its weights were as they are: with `validation`, those of the epoch with
    the least loss there, and no more epochs are trained than `config.patience` allows.

    `seed` fixes the order of windows. A frozen encoder runs once over all windows, in evaluation mode, and only its
    features go through the epochs.
    """
    device = torch.device(config.device)
    model.to(device)
    inputs, targets = torch.from_numpy(windows), torch.from_numpy(labels)
    trained: nn.Module = model
    if config.freeze_encoder:
        trained = model.classifier
        inputs = _features(model, inputs, device)
        if validation is not None:
            validation = (_features(model, torch.from_numpy(validation[0]), device).numpy(), validation[1])
    still = [] if config.freeze_encoder else _still_stages(model, config)
    for stage in still:
        stage.requires_grad_(False)
    stopping = None if validation is None else _Stopping(trained, validation, device, config)
    classes = model.classifier.linear2.out_features
    weights = class_weights(targets, classes).to(device) if config.balance_classes else None
    optimiser = torch.optim.AdamW(_parameter_groups(model, config))
    total = config.steps(len(targets))
    rising = max(1, round(config.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warmup_cosine(step, total, rising))
    order = torch.Generator().manual_seed(seed)
    done = 0
    for _ in range(config.epochs):
        trained.train()
        for stage in still:
            stage.eval()
        for batch in torch.randperm(len(targets), generator=order).split(config.batch_size):
            logits = trained(inputs[batch].to(device))
            loss = F.cross_entropy(logits, targets[batch].to(device), weight=weights)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained.parameters(), config.max_gradient_norm)
            optimiser.step()
            schedule.step()
            on_step()
            done += 1
        if stopping is not None and stopping.enough(done, weights):
            break
    for _ in range(done, total):
        on_step()
    model.eval().requires_grad_()
    return done if stopping is None else stopping.restore()


def _features(model: ClassifierModel, windows: Tensor, device: torch.device) -> Tensor:
    """(N, F) of windows (N, 3, L), in evaluation mode."""
    model.eval()
    return in_batches(lambda x: model.feature_extractor(x).flatten(1), windows, device)


class _Stopping:
    """Keeps the best weights of a model by its loss on people who were set aside."""

    def __init__(self, trained: nn.Module, validation: Labelled, device: torch.device, config: TrainingConfig) -> None:
        self._trained, self._device, self._config = trained, device, config
        self._inputs, self._targets = (torch.from_numpy(part) for part in validation)
        self._best, self._best_step, self._worse = math.inf, 0, 0
        self._kept: dict[str, Tensor] = {}

    def enough(self, step: int, weights: Tensor | None) -> bool:
        """Look at the model after an epoch; whether to train no more."""
        self._trained.eval()
        logits = in_batches(self._trained, self._inputs, self._device)
        loss = F.cross_entropy(logits, self._targets, weight=None if weights is None else weights.cpu()).item()
        if loss < self._best:
            self._best, self._best_step, self._worse = loss, step, 0
            self._kept = {name: tensor.clone() for name, tensor in self._trained.state_dict().items()}
        else:
            self._worse += 1
        return self._worse >= self._config.patience and step >= self._config.min_steps

    def restore(self) -> int:
        """Go back to the best weights; returns their step."""
        if self._kept:
            self._trained.load_state_dict(self._kept)
        return self._best_step


def _still_stages(model: ClassifierModel, config: TrainingConfig) -> list[nn.Module]:
    return list(model.feature_extractor.children())[: STAGES - config.trained_stages]


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
        stages = list(model.feature_extractor.children())
        for distance, stage in enumerate(reversed(stages)):
            if distance < config.trained_stages:
                rates.insert(0, (stage, config.encoder_learning_rate * config.layer_decay**distance))
    return [group for module, rate in rates for group in decay_groups(module, rate, config.weight_decay)]
