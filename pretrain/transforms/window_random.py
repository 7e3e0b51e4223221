"""Random numbers keyed by window, not by process.

A window's key is made from (seed, epoch, position in the epoch); every number is a hash of that key, the name of its
purpose and a counter. So the same window gets the same transform on any device, on any rank and for any world size,
and nothing has to be saved to resume. The hash is SplitMix64, as in data_shards/splitmix64.py; its integer arithmetic
is exact on every device.
"""

import math
import zlib

import torch
from torch import Tensor

from data_shards.splitmix64 import GOLDEN, MULTIPLIERS, WORD, mix
from pretrain.transforms.constants import table


def _signed(value: int) -> int:
    """The same 64 bits as a signed (two's complement) integer, since torch's arithmetic is signed."""
    value &= WORD
    return value - (1 << 64) if value >> 63 else value


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own keeps the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def mix_tensor(x: Tensor) -> Tensor:
    """`data_shards.splitmix64.mix` of every element of an int64 tensor, whose bits are interpreted as unsigned."""
    x = (x ^ _shift(x, 30)).mul_(_signed(MULTIPLIERS[0]))
    x = x.bitwise_xor_(_shift(x, 27)).mul_(_signed(MULTIPLIERS[1]))
    return x.bitwise_xor_(_shift(x, 31))


def _salted(keys: Tensor, name: str) -> Tensor:
    """Keys of the draws for one purpose, separate from those for another."""
    # A table, which the compiler finds: it cannot trace `zlib`.
    return keys ^ table(f"salt {name}", keys.device, lambda: torch.tensor(zlib.crc32(name.encode())))


def window_keys(seed: int, epoch: int, positions: Tensor) -> Tensor:
    """(N,) int64 keys of windows, from their int64 positions in the epoch."""
    start = mix((seed * 2 + 1) * GOLDEN)
    start = mix(start + (epoch + 1) * GOLDEN)
    return mix_tensor(mix_tensor(positions * _signed(GOLDEN) + _signed(start)))


def child_keys(keys: Tensor, name: str) -> Tensor:
    """(N,) int64 keys for another, independent set of draws for each window, such as those of its second view."""
    return mix_tensor(mix_tensor(_salted(keys, name)) + _signed(GOLDEN))


def uniform(keys: Tensor, name: str, count: int) -> Tensor:
    """(N, count) float64 numbers in [0, 1), a multiple of 2^-53, for the purpose `name`."""
    stream = mix_tensor(_salted(keys, name))
    # A constant table: given `arange`, a compiler might multiply without wrapping around at 64 bits.
    counter = table(f"counter {count}", keys.device, lambda: torch.arange(1, count + 1) * _signed(GOLDEN))
    return _shift(mix_tensor(stream[:, None] + counter), 11).double().mul_(2.0**-53)


def normal(keys: Tensor, name: str, count: int) -> Tensor:
    """(N, count) float64 standard normal numbers (Box and Muller 1958)."""
    pairs = uniform(keys, name, 2 * count)
    radius = torch.log1p(-pairs[:, :count]).mul_(-2.0).sqrt_()
    return radius.mul_(torch.cos(2.0 * math.pi * pairs[:, count:]))


def integers(keys: Tensor, name: str, below: int, count: int = 1) -> Tensor:
    """(N, count) int64 numbers in [0, below)."""
    return (uniform(keys, name, count) * below).long().clamp_(max=below - 1)


def chances(keys: Tensor, name: str, probability: float, count: int) -> Tensor:
    """(N, count) bool, each True with `probability`."""
    return uniform(keys, name, count) < probability
