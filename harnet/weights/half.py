"""Weights in half the room: those of convolutions and linear layers as float16, all else as it is.

Batch normalisation, biases and the fixed low-pass kernels take little room, and variances may not fit into float16.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same names; weights of two and more dimensions as float16."""
    return {
        name: tensor.half() if name.endswith(".weight") and tensor.dim() > 1 else tensor
        for name, tensor in state.items()
    }


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same names; what `halved` made smaller is float32 again, at the precision of float16."""
    return {
        name: tensor.float()
        if name.endswith(".weight") and tensor.dim() > 1 and tensor.dtype == torch.float16
        else tensor
        for name, tensor in state.items()
    }
