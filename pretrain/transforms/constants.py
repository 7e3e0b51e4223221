"""Small constant tensors on the training device, copied there once.

A copy from the host at every step would synchronise with the device and could not be recorded in a CUDA graph. They are
kept in a plain dictionary, where torch.compile finds existing entries; it would trace through a cached function.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_TABLES: dict[str, Tensor] = {}


def table(name: str, device: torch.device, make: Callable[[], Tensor]) -> Tensor:
    """The result of the first call of `make` for this name, on the device. Never write to it."""
    key = f"{name} on {device}"
    if key not in _TABLES:
        # Created outside inference mode, so that training can use tensors that evaluation created first.
        with torch.inference_mode(False):
            _TABLES[key] = make().to(device)
    return _TABLES[key]


def constant(values: tuple[object, ...], device: torch.device) -> Tensor:
    """(nested) tuple of numbers as a tensor, int64 or float32 or bool as torch infers it. Never write to it."""
    return table(str(values), device, lambda: torch.tensor(values))
