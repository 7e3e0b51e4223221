"""The update of the weights, refused on the device where it must not be made; the host learns of it a step later.

Asking the device before every update would hold it up: it would stand still while the host prepares the next step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.data.loading import LocalBatch
from pretrain.parallel.distributed import Process
from pretrain.run.step import Gradient


@dataclass(frozen=True)
class Update:
    """An update that was asked for, and what is needed to say where it came from if it was refused."""

    step: int
    """The step that it makes, from 1."""
    epoch: int
    """Of the windows."""
    positions: Tensor
    """(b,) int64, on the host: of this process's windows in the epoch."""
    _numbers: Tensor
    """(3,) float32 on the host: loss, gradient norm, 1 if refused; not there before the event."""
    _arrived: torch.cuda.Event | None
    """When the numbers are there; None on the CPU, where they always are."""

    def outcome(self) -> tuple[float, float, bool]:
        """Loss of this process, norm of the gradient, and whether the update was refused; waits for the device."""
        if self._arrived is not None:
            self._arrived.synchronize()
        loss, norm, refused = self._numbers.tolist()
        return loss, norm, refused > 0


def update(optimizer: torch.optim.Optimizer, found: Gradient, part: LocalBatch, step: int, process: Process) -> Update:
    """Ask for an update; every process must call it.

    It is refused on all processes if the loss of one of them, or the gradient, is not finite: weights, moments and
    counters of the optimiser then keep their bits. Nothing waits for the device if the optimiser is fused.
    """
    wrong = torch.stack([found.loss, found.norm]).isfinite().logical_not().float()
    # Exactly one, which is what the kernels compare with, however many processes there are.
    refused = process.sum(wrong).sum().clamp(max=1.0)
    _apply(optimizer, refused)
    numbers = torch.stack([found.loss, found.norm, refused]).to("cpu", non_blocking=True)
    arrived = None
    if process.device.type == "cuda":
        # The thread sleeps while it waits: it shares its core with those that load data.
        arrived = torch.cuda.Event(blocking=True)
        arrived.record()
    return Update(step, part.epoch, part.positions, numbers, arrived)


def _apply(optimizer: torch.optim.Optimizer, refused: Tensor) -> None:
    if not optimizer.param_groups[0]["fused"]:
        if not refused.item():
            optimizer.step()
        return
    # As torch.amp.GradScaler hands it to the fused optimisers.
    optimizer.found_inf = refused  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
