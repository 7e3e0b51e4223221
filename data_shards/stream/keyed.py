"""Random numbers as a pure function of a key: no generator object, no state, the same on every machine.

SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over NumPy's unsigned integers, whose arithmetic is exact. A
`numpy.random.Generator` would take longer to build than the numbers of one visit take to draw, and NumPy does not
promise that its streams stay the same from version to version (NEP 19).
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_WORD = (1 << 64) - 1

_COUNTERS = (np.arange(1, 4097, dtype=np.uint64) * np.uint64(_GOLDEN)).astype("<u8")
_COUNTERS.flags.writeable = False


def key(*parts: int) -> int:
    """A 64-bit key made of integers; each of them, and their order, matters."""
    state = 0
    for part in parts:
        state = _mix_int(state + ((part & _WORD) + 1) * _GOLDEN)
    return state


def numbers(key: int, count: int) -> NDArray[np.uint64]:
    """(count,) 64-bit numbers of a key, independent of each other."""
    counters = _COUNTERS[:count] if count <= len(_COUNTERS) else np.arange(1, count + 1, dtype="<u8") * _GOLDEN
    return _mix(counters + np.uint64(key))


def hashes(key: int, values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n,) a 64-bit number for each value: unlike `numbers`, a value has the same one wherever it stands."""
    spread = values.astype(np.uint64)
    spread *= np.uint64(_GOLDEN)
    return _mix(_mix(spread) + np.uint64(key))


def uniform(key: int) -> float:
    """One number in [0, 1), a multiple of 2^-53."""
    return (_mix_int(key + _GOLDEN) >> 11) * 2.0**-53


def permutation(key: int, count: int) -> NDArray[np.int64]:
    """A random order of `count` things; equal keys of 64 bits, should they ever come up, are ordered by number."""
    drawn = numbers(key, count)
    order = np.argsort(drawn)
    ranked = drawn[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order


def _mix_int(x: int) -> int:
    x &= _WORD
    x = ((x ^ (x >> 30)) * _MIX_1) & _WORD
    x = ((x ^ (x >> 27)) * _MIX_2) & _WORD
    return x ^ (x >> 31)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """In place; the caller's own copy."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(_MIX_1)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_MIX_2)
    x ^= x >> np.uint64(31)
    return x
