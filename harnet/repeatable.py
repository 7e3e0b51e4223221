"""Convolutions that give the same numbers each time, on a GPU too."""

from contextlib import AbstractContextManager

import torch


def repeatable_convolutions() -> AbstractContextManager[None]:
    """While entered, cuDNN takes deterministic algorithms, without a search, in full float32.

    Every flag is spelt out: those left out of `cudnn.flags` are not kept as they are but set to its defaults, which
    switch cuDNN off and TF32 on. TF32 keeps ten bits of the fraction, and features would not be those of the CPU.
    """
    context: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return context
