"""A model over a stream of windows: one piece in memory at a time, on the CPU or a GPU."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Pieces = Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Starts (n,) in seconds since 1970 on the recording's clock, and windows (n, 3, L) in g; n may be 0."""

Wall = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""From seconds on the recording's clock to seconds on the clock on the wall."""


def outputs(
    model: nn.Module, pieces: Pieces, batch: int, finish: Callable[[Tensor], Tensor]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield (starts (n,), finish(model(windows)) (n, K) float32) for every piece that is not empty.

    `model` is in evaluation mode on its device; `batch` windows go through it at once.
    """
    device = next(model.parameters()).device
    for starts, windows in pieces:
        if not len(starts):
            continue
        with torch.inference_mode():
            parts = [finish(model(part.to(device))).float().cpu() for part in torch.from_numpy(windows).split(batch)]
        yield starts, torch.cat(parts).numpy()
