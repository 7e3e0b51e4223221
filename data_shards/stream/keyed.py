"""Random numbers as a pure function of a key: no generator object, no state, the same on every machine.

The hash is SplitMix64 (data_shards/splitmix64.py). A `numpy.random.Generator` would take longer to build than the
numbers of one visit take to draw, and NumPy does not promise that its streams stay the same from version to version
(NEP 19).
"""

import numpy as np
from numpy.typing import NDArray

from data_shards.splitmix64 import GOLDEN, WORD, mix, mix_in_place

_COUNTERS = (np.arange(1, 4097, dtype=np.uint64) * np.uint64(GOLDEN)).astype("<u8")
_COUNTERS.flags.writeable = False


def key(*parts: int) -> int:
    """A 64-bit key from integers; depends on each of them and on their order."""
    state = 0
    for part in parts:
        state = mix(state + ((part & WORD) + 1) * GOLDEN)
    return state


def numbers(key: int, count: int) -> NDArray[np.uint64]:
    """(count,) independent 64-bit random numbers of a key."""
    counters = _COUNTERS[:count] if count <= len(_COUNTERS) else np.arange(1, count + 1, dtype="<u8") * GOLDEN
    return mix_in_place(counters + np.uint64(key))


def hashes(key: int, values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n,) a 64-bit random number for each value: unlike `numbers`, it does not depend on the value's position."""
    spread = values.astype(np.uint64)
    spread *= np.uint64(GOLDEN)
    return mix_in_place(mix_in_place(spread) + np.uint64(key))


def uniform(key: int) -> float:
    """One random number in [0, 1), a multiple of 2^-53."""
    return (mix(key + GOLDEN) >> 11) * 2.0**-53


def permutation(key: int, count: int) -> NDArray[np.int64]:
    """A random permutation (count,); ties between 64-bit numbers, should they ever occur, are ordered by index."""
    drawn = numbers(key, count)
    order = np.argsort(drawn)
    ranked = drawn[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order
