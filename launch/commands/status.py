"""`harnet status`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from launch.watch import status


@dataclass(frozen=True)
class Command:
    """Show the state of a run (queued, running, requeued, finished, failed and why), last checkpoint, speed and ETA.

    The state of the job comes from Slurm; the rest is read from the run folder. Also works without Slurm.

    Example: harnet status runs/first
    """

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    json: bool = False
    """Print as one JSON object."""

    def run(self) -> int:
        """Print the state; the exit code is 0 unless the run has failed."""
        found = status(self.run_folder)
        print(json.dumps(found.as_dict(), indent=2) if self.json else found.as_text())
        return 1 if found.state == "failed" else 0
