"""SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the hash behind every random draw.

Its integer arithmetic is exact on every machine. Here it is for one Python integer and for NumPy arrays;
`pretrain.transforms.window_random` computes the same on tensors, with these constants.
"""

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15
"""Increment of the state: 2^64 over the golden ratio, made odd."""
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Of the two rounds of the output function."""
WORD = (1 << 64) - 1
"""Mask of the 64 bits that arithmetic wraps around at."""


def mix(x: int) -> int:
    """Output function of SplitMix64: the hash of one number, modulo 2^64."""
    x &= WORD
    x = ((x ^ (x >> 30)) * MULTIPLIERS[0]) & WORD
    x = ((x ^ (x >> 27)) * MULTIPLIERS[1]) & WORD
    return x ^ (x >> 31)


def mix_in_place(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix` of every element, written over `x`, which is returned."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(MULTIPLIERS[0])
    x ^= x >> np.uint64(27)
    x *= np.uint64(MULTIPLIERS[1])
    x ^= x >> np.uint64(31)
    return x
