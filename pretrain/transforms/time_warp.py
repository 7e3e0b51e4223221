"""Time warp: time speeds up and slows down along a random smooth curve, separately for each axis."""

import numpy as np
import torch
from torch import Tensor

from pretrain.transforms.constants import table
from pretrain.transforms.window_random import normal

KNOTS = 6
SIGMA = 0.2
"""Speed at six evenly spaced knots is drawn from N(1, 0.2) (Yuan et al. 2024, after Um et al. 2017)."""

LEAST_SPEED = 1e-3
"""Lower limit of the speed: a spline can undershoot, and interpolation needs increasing positions."""


def draw_knots(keys: Tensor) -> Tensor:
    """(N, 6, 3) float64 speeds: window, knot, axis."""
    return 1.0 + SIGMA * normal(keys, "time warp", KNOTS * 3).view(-1, KNOTS, 3)


def spline_matrix(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(T, 6): values at 0..T-1 of the not-a-knot cubic spline through six knots, as a linear map of the knots."""

    def make() -> Tensor:
        from scipy.interpolate import CubicSpline  # takes half a second to import

        knots = np.linspace(0, length - 1, KNOTS)
        basis = CubicSpline(knots, np.eye(KNOTS), bc_type="not-a-knot")(np.arange(length))
        return torch.as_tensor(basis, dtype=dtype)

    return table(f"spline {length} {dtype}", device, make)


def warped_positions(knots: Tensor, length: int) -> Tensor:
    """(N, 3, T): cumulative speed, scaled so that the last position is T - 1; increasing. In the dtype of `knots`."""
    matrix = spline_matrix(length, knots.device, knots.dtype)
    # One matrix product over windows and axes: (3N, 6) times (6, T).
    speed = (knots.transpose(1, 2).reshape(-1, KNOTS) @ matrix.T).clamp_min_(LEAST_SPEED)
    position = speed.cumsum(dim=-1).view(len(knots), knots.shape[2], length)
    return position.mul_((length - 1) / position[..., -1:])


def warp(x: Tensor, positions: Tensor) -> Tensor:
    """(N, 3, T): linear interpolation, at 0..T-1, of `x` given at `positions`; constant before the first position."""
    length = x.shape[-1]
    # The grid consists of whole numbers, so the neighbours of t are found by counting the positions in each unit
    # interval and summing up to t: linear in T, without branches. Starting at -1 gives the left neighbour.
    counts = torch.zeros(*x.shape[:-1], length + 1, dtype=torch.int32, device=x.device)
    counts[..., 0] = -1
    counts[..., 1:].scatter_add_(-1, positions.long(), torch.ones_like(counts[..., :1]).expand_as(x))
    left = counts[..., :length].cumsum(dim=-1).clamp_(0, length - 2)
    slope = x.diff(dim=-1).div_(positions.diff(dim=-1).to(x.dtype))
    grid = torch.arange(length, dtype=positions.dtype, device=x.device)
    ahead = positions[..., :-1].gather(-1, left).sub_(grid).neg_().clamp_min_(0.0).to(x.dtype)
    return x[..., :-1].gather(-1, left).addcmul_(slope.gather(-1, left), ahead)
