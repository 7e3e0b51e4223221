"""Scenarios of a run on a cluster, from submission to end; several run at a time.

A story is a function that takes a scene. It runs in its own thread and fails by an assertion.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrain.command import Command
from tests.cluster.cluster import Cluster
from tests.cluster.submitted import Submitted, losses, options
from tests.pretrain.runs import together

Row = tuple[str, str, str, str, str]
"""Fault, what was done, seconds lost, steps repeated, result."""


@dataclass
class Scene:
    """The surroundings of one story."""

    cluster: Cluster
    shards: Path
    folder: Path
    """Used by this story only; all nodes see it."""
    losses_elsewhere: Future[dict[int, float]]
    rows: list[Row]
    """Rows of the table of faults."""
    broken: list[str] = field(default_factory=list)
    """Nodes to repair at the end."""

    @property
    def undisturbed(self) -> dict[int, float]:
        """Losses of the same run on two processes, without Slurm and without a fault."""
        return self.losses_elsewhere.result()

    def profile(self, site: str = "") -> Path:
        """A site profile for the test cluster, whose nodes all see this machine's disk."""
        path = self.folder / "site.toml"
        path.write_text(f'shared = ["/"]\n{site}\n')
        return path

    def submit(self, *given: str, site: str = "", **changes: Any) -> Submitted:
        """Submit a run on two nodes, or as given."""
        return Submitted(self.shards, self.folder / "run", self.profile(site), *given, **changes)

    def harnet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command line as a user would, and capture its output."""
        command = [sys.executable, "-m", "launch", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


Story = Callable[[Scene], None]


def tell(story: Story, scene: Scene) -> None:
    """Run a story, then clean up after it."""
    scene.folder.mkdir()
    try:
        story(scene)
    finally:
        scene.cluster.cancel_all(under=scene.folder)
        for name in scene.broken:
            scene.cluster.mend(name)


def train_undisturbed(shards: Path, run: Path) -> dict[int, float]:
    """The losses that every story must end with."""
    together(Command.parse("x", options(shards, run)).options, world=2)
    return losses(run)
