"""Optimiser and learning rate."""

import math

import torch
from torch import nn

from pretrain.config import OptimizerConfig


def build(network: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW; weights with two dimensions or more decay, normalisation and biases do not."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, amsgrad=config.amsgrad)


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of step number `step`, from 0: linear warm-up, then a half cosine to zero at `steps`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / (steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
