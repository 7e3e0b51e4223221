"""Deterministic convolutions, also on a GPU."""

from contextlib import AbstractContextManager

import torch


def deterministic_convolutions() -> AbstractContextManager[None]:
    """Context manager in which cuDNN uses deterministic algorithms, without benchmarking, in full float32.

    Every flag is given explicitly: `cudnn.flags` resets omitted flags to its own defaults, which disable cuDNN and
    enable TF32. TF32 has a 10-bit mantissa, so features would differ from those computed on the CPU.
    """
    context: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return context
