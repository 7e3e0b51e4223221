"""`harnet cancel`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from harnet.errors import HarnetError
from launch import slurm
from launch.watch import status


@dataclass(frozen=True)
class Command:
    """Cancel the job of a run. It writes a checkpoint if Slurm gives it enough time (KillWait, 30 s by default).

    The run folder is kept, and the same submit command resumes it.

    Example: harnet cancel runs/first
    """

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""

    def run(self) -> int:
        """Cancel the job and print its last state; returns the exit code."""
        found = status(self.run_folder)
        if found.job is None or found.over:
            raise HarnetError(f"{self.run_folder}: nothing to cancel: {found.state}")
        slurm.run_command("scancel", found.job)
        print(f"job {found.job} cancelled; it was: {found.as_text()}")
        return 0
