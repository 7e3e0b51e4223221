"""`harnet verify`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data_shards.shards import manifest
from data_shards.shards.verify import verify


@dataclass(frozen=True)
class Command:
    """Read every byte of a shard folder and compare it with the manifest.

    Each problem is one line: shard, block, what was expected and found, what to do. Exit code 0 means none.

    Example: harnet verify shards
    """

    shards: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SHARDS")]
    """Folder that `harnet shard` made."""
    workers: int = 1
    """Processes, each reading shards of its own."""
    json: bool = False
    """Print the problems as JSON."""

    def run(self) -> int:
        """Check, print, and fail if anything is wrong."""
        problems = verify(self.shards, self.workers)
        contents = manifest.read(self.shards)
        if self.json:
            print(json.dumps({"problems": [asdict(problem) for problem in problems]}, indent=2))
        else:
            for problem in problems:
                print(problem)
            size = sum(shard.bytes for shard in contents.shards) / 1e6
            verdict = f"{len(problems)} problems" if problems else "all good"
            blocks = len(contents.columns["hour"])
            print(f"{self.shards}: {len(contents.shards)} shards, {blocks} blocks, {size:.1f} MB: {verdict}")
        return 1 if problems else 0
