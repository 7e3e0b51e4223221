"""Mirroring: one axis with its sign changed, as on the other wrist or with the device upside down."""

import torch
from torch import Tensor

from pretrain.transforms.window_random import integers


def draw_signs(keys: Tensor) -> Tensor:
    """(N, 3) float64: -1 for the mirrored axis, which is each of the three with equal probability, 1 for the others."""
    axis = integers(keys, "mirror", 3)
    return torch.where(torch.arange(3, device=keys.device) == axis, -1.0, 1.0).double()
