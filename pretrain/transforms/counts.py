"""From stored counts to acceleration in g, on the training device: int16 is what gets transferred."""

from torch import Tensor

from data_shards.layout import COUNTS_PER_G, MISSING


def to_g(counts: Tensor) -> Tensor:
    """(N, 3, T) int16 -> float32 in g, exact; MISSING comes out as -8 g, see `is_recorded`."""
    return counts.float().mul_(1.0 / COUNTS_PER_G)


def is_recorded(counts: Tensor) -> Tensor:
    """(N, T) bool: True where the device recorded something."""
    return (counts != MISSING).all(dim=1)
