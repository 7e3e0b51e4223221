"""Fitting a classifier to labelled windows, on the frozen or the fine-tuned encoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harnet.errors import HarnetError
from harnet.heads import ClassifierModel
from harnet.transfer.supervised_loop import (
    LabelledInputs,
    Schedule,
    class_weights,
    in_batches,
    train_with_early_stopping,
)

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

    def schedule(self, windows: int) -> Schedule:
        """What that is for so many training windows: a look at the people set aside after every epoch."""
        steps = self.steps(windows)
        return Schedule(
            batch_size=self.batch_size,
            steps=steps,
            warmup=max(1, round(self.warmup * steps)),
            weight_decay=self.weight_decay,
            max_gradient_norm=self.max_gradient_norm,
            between_looks=steps // self.epochs,
            patience=self.patience,
            least_steps=self.min_steps,
        )


def fit_classifier(
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
    the least loss there, and no more epochs are trained than `config.patience` allows. `on_step` is called for the
    steps that this saves, too.

    `seed` fixes the order of windows. A frozen encoder runs once over all windows, in evaluation mode, and only its
    features go through the epochs.
    """
    model.to(config.device)
    network, rates = _trained(model, config)
    learnt = _part(model, (windows, labels), config)
    held = None if validation is None else _part(model, validation, config)
    classes = model.classifier.linear2.out_features
    weights = class_weights(learnt.targets, classes) if config.balance_classes else torch.ones(classes)
    schedule = config.schedule(len(labels))
    done = train_with_early_stopping(network, rates, learnt, held, weights, schedule, seed, config.device, on_step)
    for _ in range(done.steps, schedule.steps):
        on_step()
    return done.kept


def _trained(model: ClassifierModel, config: TrainingConfig) -> tuple[nn.Module, list[tuple[nn.Module, float]]]:
    """What the loop runs, and the modules that it trains with their learning rates."""
    head = (model.classifier, config.head_learning_rate)
    if config.freeze_encoder:
        return model.classifier, [head]
    from_output = list(model.feature_extractor.children())[::-1][: config.trained_stages]
    rates = [config.encoder_learning_rate * config.layer_decay**distance for distance in range(len(from_output))]
    return model, [head, *zip(from_output, rates, strict=True)]


def _part(model: ClassifierModel, labelled: Labelled, config: TrainingConfig) -> LabelledInputs:
    """Windows, or features (N, F) of a frozen encoder in evaluation mode."""
    inputs, targets = (torch.from_numpy(column) for column in labelled)
    if config.freeze_encoder:
        model.eval()
        inputs = in_batches(lambda x: model.feature_extractor(x).flatten(1), inputs, config.device)
    return LabelledInputs(inputs, targets)


def predict(model: ClassifierModel, windows: NDArray[np.float32], device: str = "cpu") -> NDArray[np.int64]:
    """Most likely class (N,) of windows (N, 3, L) in g, in evaluation mode."""
    model.to(device).eval()
    return in_batches(model, torch.from_numpy(windows), device).argmax(dim=1).numpy()
