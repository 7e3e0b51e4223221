"""Small tables on the training device, put there once.

A copy from the host in every step would wait for the device and could not be recorded in a CUDA graph. They are kept in
a plain dictionary, in which a compiler finds what is already there; a cached function it would trace through.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_TABLES: dict[str, Tensor] = {}


def table(name: str, device: torch.device, make: Callable[[], Tensor]) -> Tensor:
    """What `make` returned when it was first asked for, on that device. Never write to it."""
    key = f"{name} on {device}"
    if key not in _TABLES:
        # Made outside inference mode, whoever asks first, so that training may use what evaluation has kept.
        with torch.inference_mode(False):
            _TABLES[key] = make().to(device)
    return _TABLES[key]


def constant(values: tuple[object, ...], device: torch.device) -> Tensor:
    """(nested) tuple of numbers as a tensor, int64 or float32 or bool as torch infers it. Never write to it."""
    return table(str(values), device, lambda: torch.tensor(values))
