"""Report of a loss or gradient that is not finite: the step, and the recordings its windows were cut from."""

import math
from collections.abc import Sequence
from pathlib import Path

from harnet.files import write_atomically
from harnet.run_folder import not_finite_file
from pretrain.parallel.distributed import Process

_NAMED = 3
"""Blocks named in the message; the file lists all."""


def not_finite_report(run: Path, process: Process, blocks: Sequence[str], step: int, loss: float, norm: float) -> str:
    """Write the names of the blocks of this rank's windows to a file in `run`; return the error message, in one line.

    Each rank has its own loss, but the gradient is shared. So the blocks to look at are those of the rank whose loss
    is not finite, and the messages of the others say so.
    """
    text = f"step {step}: loss {loss} or gradient norm {norm} is not finite"
    if process.world > 1 and math.isfinite(loss):
        text = f"{text} (this is rank {process.rank}; see first the message of a rank whose loss is not finite)"
    path = not_finite_file(run, step, process.rank)
    write_atomically(path, "".join(f"{name}\n" for name in blocks))
    shown = ", ".join(blocks[:_NAMED]) + (f" and {len(blocks) - _NAMED} more" if len(blocks) > _NAMED else "")
    return (
        f"{text}; its windows were planned from {shown} (all in {path}); the update was skipped, and the last "
        "checkpoint is good; try a lower optimizer.learning_rate or run.precision fp32, in another --run.out"
    )
