"""`harnet doctor`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.doctor import Finding, examine, over_nodes
from launch.profile import read


@dataclass(frozen=True)
class Command:
    """Check what training needs here: packages, GPUs, network, disk, Slurm. Each line says good, or what to do.

    With --nodes, a job of about a minute checks that the nodes can reach each other, and at what bandwidth. Inside a
    job it uses that job's nodes.

    Example: harnet doctor --folder runs --profile mine.toml --nodes 2 --gpus-per-node 8
    """

    folder: Path = Path()
    """Folder where runs will be written."""
    profile: str | None = None
    """TOML file of the site profile, or the name of one included with harnet."""
    nodes: int = 0
    """Also run an all-reduce on this many nodes; this waits in the queue."""
    gpus_per_node: int = 0
    """GPUs, and processes, per node; 0 uses CPUs."""
    json: bool = False
    """Print the findings as JSON."""

    def run(self) -> int:
        """Run and print all checks; the exit code is 0 only if all pass."""
        findings = []
        for finding in self._findings():
            findings.append(finding)
            if not self.json:
                print(finding, flush=True)
        if self.json:
            print(json.dumps([asdict(finding) for finding in findings], indent=2))
        return int(not all(finding.good for finding in findings))

    def _findings(self) -> Iterator[Finding]:
        profile = read(self.profile)
        yield from examine(self.folder, profile)
        if self.nodes:
            yield from over_nodes(profile, self.nodes, self.gpus_per_node)
