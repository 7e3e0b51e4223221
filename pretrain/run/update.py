"""The update of the weights, skipped on the device if loss or gradient is not finite; the host knows a step later.

Reading the loss back before every update would leave the device idle while the host prepares the next step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.data.loading import LocalBatch
from pretrain.parallel.distributed import Process
from pretrain.run.step import Gradient


@dataclass(frozen=True)
class Update:
    """An update that was launched, and what is needed to report its windows if it was skipped."""

    step: int
    """Number of the step, from 1."""
    epoch: int
    """Epoch of the windows."""
    positions: Tensor
    """(b,) int64, on the host: positions of the local windows in the epoch."""
    _numbers: Tensor
    """(3,) float32 on the host: loss, gradient norm, 1 if skipped; valid only after the event."""
    _arrived: torch.cuda.Event | None
    """Recorded when the numbers have been copied; None on the CPU, where they are valid at once."""

    def outcome(self) -> tuple[float, float, bool]:
        """Loss of this rank, gradient norm, and whether the update was skipped; waits for the device."""
        if self._arrived is not None:
            self._arrived.synchronize()
        loss, norm, refused = self._numbers.tolist()
        return loss, norm, refused > 0


def update(optimizer: torch.optim.Optimizer, found: Gradient, part: LocalBatch, step: int, process: Process) -> Update:
    """Launch an update; every rank must call it.

    It is skipped on all ranks if the loss of any rank, or the gradient, is not finite: weights and optimiser state
    then stay unchanged. Nothing waits for the device if the optimiser is fused.
    """
    wrong = torch.stack([found.loss, found.norm]).isfinite().logical_not().float()
    # Exactly 1 for any world size, because the kernels compare with 1.
    refused = process.sum(wrong).sum().clamp(max=1.0)
    _apply(optimizer, refused)
    numbers = torch.stack([found.loss, found.norm, refused]).to("cpu", non_blocking=True)
    arrived = None
    if process.device.type == "cuda":
        # Blocking: the waiting thread sleeps, since it shares its core with the loaders.
        arrived = torch.cuda.Event(blocking=True)
        arrived.record()
    return Update(step, part.epoch, part.positions, numbers, arrived)


def _apply(optimizer: torch.optim.Optimizer, refused: Tensor) -> None:
    if not optimizer.param_groups[0]["fused"]:
        if not refused.item():
            optimizer.step()
        return
    # The way in which torch.amp.GradScaler passes it to fused optimisers.
    optimizer.found_inf = refused  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
