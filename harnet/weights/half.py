"""Weights in half the size: those of convolutions and linear layers as float16, everything else unchanged.

Batch normalisation, biases and the fixed low-pass kernels are small, and variances may exceed the range of float16.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict, with weights of two or more dimensions as float16."""
    return {
        name: tensor.half() if name.endswith(".weight") and tensor.dim() > 1 else tensor
        for name, tensor in state.items()
    }


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict, with the weights that `halved` converted as float32 again, at the precision of float16."""
    return {
        name: tensor.float()
        if name.endswith(".weight") and tensor.dim() > 1 and tensor.dtype == torch.float16
        else tensor
        for name, tensor in state.items()
    }
