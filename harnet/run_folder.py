"""File names in a run folder, shared by the code that writes, reads and monitors it. Does not import torch."""

import json
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError

LOG = "log.jsonl"
"""JSON Lines, one line per log interval; other programs read it."""
TENSORBOARD = "tensorboard"
"""The same values as TensorBoard event files."""

TRACES = "traces"
"""Profiler traces of single steps, for Perfetto."""
FLIGHT = "nccl-flight-process-"
"""Prefix, followed by the rank: NCCL flight-recorder dumps, written when a collective times out."""
LOCK = "LOCK"
"""Exists while a run writes here, and says which process does."""

CHECKPOINTS = "checkpoints"
"""Folder with one sub-folder per checkpoint; see `checkpoint_folder`."""
MARKER = "COMPLETE"
"""File in a checkpoint: the checkpoint is valid if this exists and the digests in it match."""
OPTIMIZER, METADATA = "optimizer.pt", "about.json"
NETWORK, AVERAGE, RANDOM = (f"{name}.safetensors" for name in ("network", "average", "random"))
"""The network, the moving average of its weights if the run keeps one, and the state of torch's random generators."""

SLURM = "slurm"
"""Folder of batch scripts, job logs and the records below."""
SUBMISSIONS, STARTS = "submissions.jsonl", "starts.jsonl"
"""Which jobs were submitted; when they started and how they ended."""
REASONS = "reasons"
"""Folder with one file per failed process that says why it failed."""


def not_finite_file(run: Path, step: int, rank: int) -> Path:
    """File listing the blocks that a rank's windows came from, at a step whose loss or gradient was not finite."""
    return run / f"not-finite-step-{step:08d}-process-{rank}.txt"


def checkpoint_folder(run: Path, step: int) -> Path:
    """Folder of the checkpoint written after `step` optimiser steps."""
    return run / CHECKPOINTS / f"step-{step:08d}"


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of all checkpoint folders under their final name, valid or not, ascending."""
    numbers = [path.name.removeprefix("step-") for path in (run / CHECKPOINTS).glob("step-????????")]
    return sorted(int(number) for number in numbers if number.isdecimal())


def newest_step(run: Path) -> int:
    """Step of the newest checkpoint that has its marker; 0 if there is none. Digests are not checked here."""
    marked = [step for step in checkpoint_steps(run) if (checkpoint_folder(run, step) / MARKER).is_file()]
    return max(marked, default=0)


def read_log(run: Path) -> list[dict[str, Any]]:
    """All complete lines of a run's log; empty without a log. A last line truncated by a kill is dropped.

    Raises:
        HarnetError: a complete line is not valid JSON.
    """
    path = run / LOG
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")
    try:
        return [json.loads(line) for line in lines[:-1] if line]
    except ValueError as error:
        raise HarnetError(f"{path}: not valid JSON Lines ({error})") from error
