"""Time reversal: the window is played backwards."""

from torch import Tensor


def reverse(x: Tensor) -> Tensor:
    """(N, 3, T) -> (N, 3, T), flipped in time."""
    return x.flip(-1)
