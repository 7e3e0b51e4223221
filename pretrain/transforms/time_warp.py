"""Time warp: time runs faster here and slower there, along a random smooth curve for each axis."""

from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from pretrain.transforms.draws import normal

KNOTS = 6
SIGMA = 0.2
"""Speed at six evenly spaced knots is drawn from N(1, 0.2) (Yuan et al. 2024, after Um et al. 2017)."""

LEAST_SPEED = 1e-3
"""A spline can undershoot; time must not run backwards, or positions could not be interpolated from."""


def draw_knots(keys: Tensor) -> Tensor:
    """(N, 6, 3) float64 speeds: window, knot, axis."""
    return 1.0 + SIGMA * normal(keys, "time warp", KNOTS * 3).view(-1, KNOTS, 3)


@lru_cache(maxsize=32)
def spline_matrix(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(T, 6): values at 0..T-1 of the not-a-knot cubic spline through six knots, as a linear map of the knots."""
    knots = np.linspace(0, length - 1, KNOTS)
    basis = CubicSpline(knots, np.eye(KNOTS), bc_type="not-a-knot")(np.arange(length))
    return torch.as_tensor(basis, dtype=dtype, device=device)


def warped_positions(knots: Tensor, length: int) -> Tensor:
    """(N, 3, T): cumulative speed, scaled so that the last position is T - 1; increasing. In the dtype of `knots`."""
    matrix = spline_matrix(length, knots.device, knots.dtype)
    speed = torch.einsum("tk,nka->nat", matrix, knots).clamp_min(LEAST_SPEED)
    position = speed.cumsum(dim=-1)
    return position * ((length - 1) / position[..., -1:])


def warp(x: Tensor, positions: Tensor) -> Tensor:
    """Signal at 0..T-1 by linear interpolation of `x` given at `positions`; constant before the first. (N, 3, T)."""
    length = x.shape[-1]
    grid = torch.arange(length, dtype=positions.dtype, device=x.device).expand_as(positions).contiguous()
    right = torch.searchsorted(positions.contiguous(), grid).clamp_(1, length - 1)
    left = right - 1
    before, after = positions.gather(-1, left), positions.gather(-1, right)
    share = ((grid - before) / (after - before)).clamp_(0.0, 1.0).to(x.dtype)
    return torch.lerp(x.gather(-1, left), x.gather(-1, right), share)
