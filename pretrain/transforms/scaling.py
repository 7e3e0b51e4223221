"""Scaling: each axis times its own factor, clearly different from 1. Gain: all axes times one factor near 1."""

import torch
from torch import Tensor

from pretrain.transforms.window_random import uniform

RANGE = 0.5
LEAST = 0.15
"""Factors are uniform in 1 ± 0.5, but none is closer to 1 than this (Yuan et al. 2024)."""


def draw_factors(keys: Tensor) -> Tensor:
    """(N, 3) float64: uniform on [0.5, 0.85] and [1.15, 1.5], as if redrawn until far enough from 1."""
    u = uniform(keys, "scaling", 3) * 2.0 - 1.0
    return 1.0 + torch.where(u < 0, -1.0, 1.0) * (LEAST + (RANGE - LEAST) * u.abs())


def draw_gain(keys: Tensor, most: float) -> Tensor:
    """(N, 3) float64: one factor for the three axes, uniform in 1 ± `most`."""
    return (1.0 + most * (uniform(keys, "gain", 1) * 2.0 - 1.0)).expand(-1, 3)


def scale(x: Tensor, factors: Tensor) -> Tensor:
    """(N, 3, T) times (N, 3) factors."""
    return x * factors[:, :, None].to(x.dtype)
