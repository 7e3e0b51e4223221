"""Small tables on the training device, put there once.

A copy from the host in every step would wait for the device and could not be recorded in a CUDA graph.
"""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def constant(values: tuple[object, ...], device: torch.device) -> Tensor:
    """(nested) tuple of numbers as a tensor, int64 or float32 or bool as torch infers it. Never write to it."""
    # Made outside inference mode, whoever asks first, so that training may use what evaluation has cached.
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)
