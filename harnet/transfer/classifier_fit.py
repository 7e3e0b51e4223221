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
"""Number of stages of every encoder."""

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Windows (N, 3, L) in g and class indices (N,)."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a classifier is trained. HarnetError for invalid values."""

    epochs: int = 15
    """Passes over the training people's windows."""
    batch_size: int = 32
    """Windows per optimiser step."""
    encoder_learning_rate: float = 3e-4
    """Peak learning rate of the encoder (AdamW, linear warm-up, then cosine decay to zero)."""
    head_learning_rate: float = 1e-3
    """Peak learning rate of the classifier."""
    weight_decay: float = 0.01
    """Decoupled weight decay of convolution and linear weights; biases and batch normalisation have none."""
    warmup: float = 0.1
    """Fraction of all steps used for learning-rate warm-up."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm."""
    freeze_encoder: bool = False
    """Train only the classifier; the encoder's batch statistics are frozen too."""
    trained_stages: int = STAGES
    """Number of encoder stages to train, of five, counted from the output; the others are frozen, including their
    batch statistics."""
    layer_decay: float = 1.0
    """Factor by which the learning rate falls with each stage further from the output (Howard and Ruder 2018, section
    3.2, where it is 1 / 2.6)."""
    patience: int = 0
    """Early stopping: stop after this many epochs in a row without a lower loss on held-out training people, and
    restore the best weights; 0 trains all epochs on everybody."""
    min_steps: int = 0
    """Do not stop before this many optimiser steps."""
    validation_share: float = 0.2
    """With patience: share of the training people that is held out."""
    balance_classes: bool = True
    """Weight each window by the inverse frequency of its class among the training people."""
    seed: int = 0
    """Seed of random parameters and of the order of windows; each fold derives its own from it."""
    threads: int = 0
    """CPU threads; 0 keeps torch's default. Sums are split over threads, so results are bit-identical only with the
    same number on the same kind of machine."""
    device: str = "cpu"
    """Torch device, such as "cpu" or "cuda"."""

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
        """Optimiser steps of a complete training run on `windows` windows."""
        return self.epochs * math.ceil(windows / self.batch_size)

    def schedule(self, windows: int) -> Schedule:
        """The schedule for `windows` training windows, with an evaluation on the held-out people after every epoch."""
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

    Returns the optimiser step whose weights were kept: the last one or, with `validation`, the end of the epoch with
    the lowest validation loss, where `config.patience` ends training early. `on_step` is also called for the steps
    that early stopping skips, so a progress bar reaches its end.

    `seed` fixes the order of windows. A frozen encoder runs once over all windows, in evaluation mode, and the
    epochs use the stored features.
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
    """The module to run in the training loop, and the modules to train with their learning rates."""
    head = (model.classifier, config.head_learning_rate)
    if config.freeze_encoder:
        return model.classifier, [head]
    from_output = list(model.feature_extractor.children())[::-1][: config.trained_stages]
    rates = [config.encoder_learning_rate * config.layer_decay**distance for distance in range(len(from_output))]
    return model, [head, *zip(from_output, rates, strict=True)]


def _part(model: ClassifierModel, labelled: Labelled, config: TrainingConfig) -> LabelledInputs:
    """Windows, or features (N, F) if the encoder is frozen."""
    inputs, targets = (torch.from_numpy(column) for column in labelled)
    if config.freeze_encoder:
        model.eval()
        inputs = in_batches(lambda x: model.feature_extractor(x).flatten(1), inputs, config.device)
    return LabelledInputs(inputs, targets)


def predict(model: ClassifierModel, windows: NDArray[np.float32], device: str = "cpu") -> NDArray[np.int64]:
    """Most likely class index (N,) of each window (N, 3, L) in g; sets `model` to evaluation mode."""
    model.to(device).eval()
    return in_batches(model, torch.from_numpy(windows), device).argmax(dim=1).numpy()
