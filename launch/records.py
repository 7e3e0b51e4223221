"""What jobs note in a run folder, and what it says to those who watch and stop the run. Nothing here imports torch."""

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
    """The last line of training in a run's log."""

    step: int
    """Steps done."""
    loss: float
    """Mean over the lines's interval."""
    windows_per_second: float
    """Over all processes."""
    time: float
    """When it was written, in seconds since 1970."""

    @property
    def age_seconds(self) -> float:
        """Since then."""
        return max(0.0, time.time() - self.time)


def last_logged(run: Path) -> LogLine | None:
    """The last complete line of training, without reading the whole of a long log."""
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
            continue  # the first line of this stretch may be cut
        if row["kind"] == "train":
            return LogLine(row["step"], row["loss"], row["windows_per_second"], path.stat().st_mtime)
    return None


def append(run: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Add an entry to a record of the run folder, durably."""
    folder = run / SLURM
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        file.write(json.dumps({"time": time.time()} | dict(entry)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(folder)


def entries(run: Path, name: str) -> list[dict[str, Any]]:
    """All complete entries of a record; one that a kill cut short is left out."""
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
    """Why a process of a start failed, as it said itself."""

    rank: int
    """Which process."""
    code: int
    """With which it was about to end."""
    text: str
    """One line."""
    time: float
    """In seconds since 1970, by the clock of its node."""


def write_reason(run: Path, start: str, reason: Reason) -> None:
    """Note why a process fails. `start` names the start of the job that it belongs to."""
    folder = run / SLURM / REASONS
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{start}-{reason.rank}.json", json.dumps(asdict(reason)))


def reasons(run: Path, start: str) -> list[Reason]:
    """What the processes of a start left, in order of time."""
    found = [Reason(**json.loads(path.read_text())) for path in (run / SLURM / REASONS).glob(f"{start}-*.json")]
    return sorted(found, key=lambda reason: reason.time)


def settings(run: Path) -> dict[str, Any] | None:
    """The configuration (`PretrainConfig.as_dict`): of the newest checkpoint, else of the last submission."""
    step = newest_step(run)
    about = checkpoint_folder(run, step) / METADATA
    if step and about.is_file():
        found: dict[str, Any] = json.loads(about.read_text())["config"]
        return found
    submitted = entries(run, SUBMISSIONS)
    return submitted[-1]["config"] if submitted else None
