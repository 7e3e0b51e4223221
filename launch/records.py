"""Records that jobs write in the run folder, for monitoring and stopping a run. Does not import torch."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harnet.files import fsync_folder, write_atomically
from harnet.run_folder import LOG, METADATA, REASONS, SLURM, SUBMISSIONS, checkpoint_folder, newest_step


@dataclass(frozen=True)
class LogLine:
    """The last training line in a run's log."""

    step: int
    """Optimiser steps done."""
    loss: float
    """Mean loss over the log interval."""
    windows_per_second: float
    """Throughput over all ranks."""
    time: float
    """Time of writing, in seconds since 1970."""

    @property
    def age_seconds(self) -> float:
        """Seconds since it was written."""
        return max(0.0, time.time() - self.time)


def last_logged(run: Path) -> LogLine | None:
    """The last complete training line; reads only the end of the log."""
    path = run / LOG
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the first line of this chunk may be truncated
        if row["kind"] == "train":
            return LogLine(row["step"], row["loss"], row["windows_per_second"], path.stat().st_mtime)
    return None


def append(run: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Durably append an entry to a record in the run folder."""
    folder = run / SLURM
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        file.write(json.dumps({"time": time.time()} | dict(entry)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(folder)


def entries(run: Path, name: str) -> list[dict[str, Any]]:
    """All complete entries of a record; an entry truncated by a kill is skipped."""
    path = run / SLURM / name
    if not path.exists():
        return []
    found = []
    for line in path.read_text().split("\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


@dataclass(frozen=True)
class Reason:
    """Why a process failed, as reported by itself."""

    rank: int
    """Its rank."""
    code: int
    """Its exit code."""
    text: str
    """One-line reason."""
    time: float
    """Seconds since 1970, by the clock of its node."""


def write_reason(run: Path, start: str, reason: Reason) -> None:
    """Record why a process failed; `start` identifies the start of the job (see `launch.task.start_name`)."""
    folder = run / SLURM / REASONS
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{start}-{reason.rank}.json", json.dumps(asdict(reason)))


def reasons(run: Path, start: str) -> list[Reason]:
    """Reasons recorded by the processes of a start, in order of time."""
    found = [Reason(**json.loads(path.read_text())) for path in (run / SLURM / REASONS).glob(f"{start}-*.json")]
    return sorted(found, key=lambda reason: reason.time)


def settings(run: Path) -> dict[str, Any] | None:
    """Configuration (`PretrainConfig.as_dict`) of the newest checkpoint, otherwise of the last submission, or None."""
    step = newest_step(run)
    about = checkpoint_folder(run, step) / METADATA
    if step and about.is_file():
        found: dict[str, Any] = json.loads(about.read_text())["config"]
        return found
    submitted = entries(run, SUBMISSIONS)
    return submitted[-1]["config"] if submitted else None
