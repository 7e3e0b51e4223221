"""Names of what lies in a run folder, for those who write it, read it and watch it. Nothing here imports torch."""

import json
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError

LOG = "log.jsonl"
"""A line an interval; what other programs read."""
TENSORBOARD = "tensorboard"
"""The same as curves."""

TRACES = "traces"
"""Traces of steps, for Perfetto."""
FLIGHT = "nccl-flight-process-"
"""And a number: what that process asked of NCCL last, written when processes no longer answer each other."""
LOCK = "LOCK"
"""While a run writes here: which process that is."""

CHECKPOINTS = "checkpoints"
"""A folder for each checkpoint: `checkpoint_folder`."""
MARKER = "COMPLETE"
"""In a checkpoint: it is valid once this is there and the digests in it fit."""
OPTIMIZER, ABOUT = "optimizer.pt", "about.json"
NETWORK, AVERAGE, RANDOM = (f"{name}.safetensors" for name in ("network", "average", "random"))
"""The network, the moving average of its weights if the run keeps one, and the states of torch's generators."""

SLURM = "slurm"
"""Batch scripts, logs of jobs, and the records below."""
SUBMISSIONS, STARTS = "submissions.jsonl", "starts.jsonl"
"""What was submitted; when its jobs started and how they ended."""
REASONS = "reasons"
"""Why processes failed: a file of each that did."""


def not_finite_file(run: Path, step: int, rank: int) -> Path:
    """Names of the blocks that a process's windows came from at a step whose loss or gradient was not finite."""
    return run / f"not-finite-step-{step:08d}-process-{rank}.txt"


def checkpoint_folder(run: Path, step: int) -> Path:
    """The folder of the checkpoint after so many steps."""
    return run / CHECKPOINTS / f"step-{step:08d}"


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of all checkpoints that have a folder of their final name, valid or not, ascending."""
    numbers = [path.name.removeprefix("step-") for path in (run / CHECKPOINTS).glob("step-????????")]
    return sorted(int(number) for number in numbers if number.isdecimal())


def newest_step(run: Path) -> int:
    """Steps of the newest checkpoint with its marker, 0 without one. Its digests are left to the training to check."""
    marked = [step for step in checkpoint_steps(run) if (checkpoint_folder(run, step) / MARKER).is_file()]
    return max(marked, default=0)


def read_log(run: Path) -> list[dict[str, Any]]:
    """All complete lines of a run's log, none if there is no log; a last line that was cut by a kill is left out.

    Raises:
        HarnetError: a complete line is not JSON.
    """
    path = run / LOG
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")
    try:
        return [json.loads(line) for line in lines[:-1] if line]
    except ValueError as error:
        raise HarnetError(f"{path}: not lines of JSON ({error})") from error
