"""What is said of a batch whose loss or gradient is not finite: the step, and the recordings it was cut from."""

import math
from collections.abc import Sequence
from pathlib import Path

from harnet.files import write_atomically
from harnet.run_folder import not_finite_file
from pretrain.parallel.distributed import Process

_NAMED = 3
"""Blocks that fit in one line; the file has them all."""


def not_finite_report(run: Path, process: Process, blocks: Sequence[str], step: int, loss: float, norm: float) -> str:
    """One line for the error, after writing the names of the blocks of this process's windows to a file in `run`.

    A loss is a process's own; the gradient is everybody's. So the process with the loss that is not finite has the
    blocks to look at, and the others say so.
    """
    text = f"step {step}: loss {loss} or gradient norm {norm} is not finite"
    if process.world > 1 and math.isfinite(loss):
        text = f"{text} (this is process {process.rank}; see first the message of one whose loss is not finite)"
    path = not_finite_file(run, step, process.rank)
    write_atomically(path, "".join(f"{name}\n" for name in blocks))
    shown = ", ".join(blocks[:_NAMED]) + (f" and {len(blocks) - _NAMED} more" if len(blocks) > _NAMED else "")
    return (
        f"{text}; its windows were due from {shown} (all in {path}); the update was not made and the last checkpoint "
        "is good; try a lower optimizer.learning_rate or run.precision fp32, in another --run.out"
    )
