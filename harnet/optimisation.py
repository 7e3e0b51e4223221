"""Optimisation shared by pretraining and fine-tuning: weight-decay groups and the learning-rate schedule."""

import math
from typing import Any

from torch import nn


def decay_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups for AdamW: convolution and linear weights decay; biases and normalisation do not."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": learning_rate, "weight_decay": 0.0},
    ]


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Learning rate at `step` (from 0) as a fraction of the peak: linear warm-up, then cosine decay to 0 at `steps`.

    Loshchilov and Hutter 2017 (SGDR), without restarts.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
