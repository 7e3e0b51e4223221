"""Random orientation of the device on the wrist: axes in another order, then a rotation. It is never a label."""

import math
from itertools import permutations

import torch
from torch import Tensor

from pretrain.transforms.constants import constant
from pretrain.transforms.window_random import integers, uniform

_AXIS_ORDERS = tuple(permutations(range(3)))


def draw_axis_order(keys: Tensor) -> Tensor:
    """(N, 3) int64: one of the six orders of the axes."""
    return constant(_AXIS_ORDERS, keys.device)[integers(keys, "axis order", len(_AXIS_ORDERS))[:, 0]]


def draw_rotation(keys: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3) axes uniform in the cube [-1, 1]^3, not normalised, and (N,) angles uniform in ±π; float64."""
    u = uniform(keys, "rotation", 4) * 2.0 - 1.0
    return u[:, :3], u[:, 3] * math.pi


def draw_tilt(keys: Tensor, most: float) -> tuple[Tensor, Tensor]:
    """(N, 3) axes as from `draw_rotation`, and (N,) angles uniform in ± `most` degrees; float64."""
    u = uniform(keys, "tilt", 4) * 2.0 - 1.0
    return u[:, :3], u[:, 3] * math.radians(most)


def rotation_matrix(axis: Tensor, angle: Tensor) -> Tensor:
    """(N, 3, 3) by Rodrigues' formula; a row vector times the matrix is rotated by `angle` about `axis`."""
    axis = axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-12)
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    outer = axis[:, :, None] * axis[:, None, :]
    return cosine * torch.eye(3, dtype=axis.dtype, device=axis.device) + sine * cross + (1.0 - cosine) * outer


def after_reordering(matrix: Tensor, order: Tensor) -> Tensor:
    """(N, 3, 3) matrix that moves axis order[n, i] to position i and then applies `matrix`."""
    return torch.zeros_like(matrix).scatter_(1, order[:, :, None].expand_as(matrix), matrix)


def rotate(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each sample of (N, 3, T), as a row vector, by (N, 3, 3)."""
    return torch.bmm(matrix.to(x.dtype).transpose(1, 2), x)
