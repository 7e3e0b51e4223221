"""Permutation: the window is cut into four segments, which are joined in another order."""

from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.transforms.constants import constant
from pretrain.transforms.window_random import integers, uniform

SEGMENTS = 4
LEAST_LENGTH = 11
"""Each of the four segments is longer than 10 samples (Yuan et al. 2024)."""

_ORDERS = tuple(permutations(range(SEGMENTS)))
assert _ORDERS[0] == tuple(range(SEGMENTS))


def draw_bounds(keys: Tensor, length: int) -> Tensor:
    """(N, 5) int64 segment bounds 0 = b0 < b1 < b2 < b3 < b4 = length, uniform over all allowed ones.

    Three distinct numbers in increasing order, out of `length - 4 * 11 + 3`, correspond to a composition of the slack
    into four parts (stars and bars); Floyd's algorithm (Bentley and Floyd 1987) draws them without rejection.
    """
    cuts = SEGMENTS - 1
    choices = length - SEGMENTS * LEAST_LENGTH + cuts
    u = uniform(keys, "permutation bounds", cuts)
    chosen = torch.full((len(keys), cuts), -1, dtype=torch.int64, device=keys.device)
    for cut, last in enumerate(range(choices - cuts, choices)):
        candidate = (u[:, cut] * (last + 1)).long().clamp_(max=last)
        taken = (chosen == candidate[:, None]).any(dim=1)
        chosen[:, cut] = torch.where(taken, last, candidate)
    number = torch.arange(cuts, device=keys.device)
    inner = chosen.sort(dim=1).values - number + LEAST_LENGTH * (number + 1)
    return F.pad(F.pad(inner, (1, 0)), (0, 1), value=length)


def draw_order(keys: Tensor, allow_identity: bool) -> Tensor:
    """(N, 4) int64 order of the segments.

    Never the identity, unless `allow_identity`: the published code draws it 1 time in 24 and labels it "permuted".
    """
    first = 0 if allow_identity else 1
    return constant(_ORDERS, keys.device)[first + integers(keys, "permutation order", len(_ORDERS) - first)[:, 0]]


def permute(x: Tensor, bounds: Tensor, order: Tensor) -> Tensor:
    """Concatenate the segments bounds[i]:bounds[i+1] of each window in `order`: (N, 3, T) -> (N, 3, T)."""
    starts, lengths = bounds[:, :-1].gather(1, order), bounds.diff(dim=1).gather(1, order)
    ends = lengths.cumsum(dim=1)
    # The index of the sample to take increases by one, and jumps to the start of the next segment at the end of one.
    steps = torch.ones(len(x), x.shape[-1], dtype=torch.int64, device=x.device)
    steps[:, :1] = starts[:, :1]
    steps.scatter_(1, ends[:, :-1], starts[:, 1:] - (starts + lengths)[:, :-1] + 1)
    source = steps.cumsum(dim=1)
    return x.gather(2, source[:, None, :].expand_as(x))
