"""`harnet doctor`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.doctor import Finding, examine, over_nodes
from launch.profile import read


@dataclass(frozen=True)
class Command:
    """Look at what training needs here: packages, GPUs, network, disk, Slurm. Each line says good, or what to do.

    With --nodes, a job of a minute on so many nodes shows that they find each other, and how fast they are. Inside a
    job it uses that job's nodes.

    Example: harnet doctor --folder runs --profile mine.toml --nodes 2 --gpus-per-node 8
    """

    folder: Path = Path()
    """Where runs are to be written."""
    profile: str | None = None
    """TOML file of the site, or the name of one that comes with harnet."""
    nodes: int = 0
    """Also try so many nodes together; this waits in the queue."""
    gpus_per_node: int = 0
    """GPUs, and processes, on each of them; 0 tries CPUs."""
    json: bool = False
    """Print the findings as JSON."""

    def run(self) -> int:
        """Look and print; 0 only if all is good."""
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
