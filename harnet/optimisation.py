"""What pretraining and fine-tuning share of the recipe: who decays, and how the learning rate goes."""

import math
from typing import Any

from torch import nn


def decay_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups for AdamW: convolution and linear weights decay, biases and normalisation do not."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": learning_rate, "weight_decay": 0.0},
    ]


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at `step`, from 0: linear warm-up, then half a cosine to zero at `steps`.

    Loshchilov and Hutter 2017 (SGDR), without restarts.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
