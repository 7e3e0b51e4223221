"""`harnet verify`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from data_shards.cohort import verify_cohort as stores
from data_shards.problem import Problem
from data_shards.shards import manifest
from data_shards.shards.verify_shards import verify_shards


@dataclass(frozen=True)
class Command:
    """Verify every byte of a shard folder against its manifest, or of a cohort store against its checksums.

    Each problem is one line: file, what was expected and found, what to do. Exit code 0 means no problems.

    Example: harnet verify shards
    Example: harnet verify cohort.zarr --workers 8
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder written by `harnet shard` or `harnet ingest`."""
    workers: int = 1
    """Worker processes, each reading its own shards or recordings."""
    json: bool = False
    """Print the problems as JSON."""

    def run(self) -> int:
        """Verify and print the problems; the exit code is 1 if there are any."""
        # Cohort stores have this file, shard folders never do.
        return self._store() if (self.folder / "zarr.json").exists() else self._shards()

    def _store(self) -> int:
        report = stores.verify_cohort(self.folder, self.workers)
        held = f"{report.recordings} recordings, {report.bytes / 1e6:.1f} MB"
        if report.unsealed:
            held += (
                f", {report.unsealed} of them without checksums (ingested by an older harnet; ingest again to add them)"
            )
        return self._as_text(report.problems, held, {"recordings": report.recordings, "unsealed": report.unsealed})

    def _shards(self) -> int:
        problems = verify_shards(self.folder, self.workers)
        contents = manifest.read(self.folder)
        shards, blocks = len(contents.shards), len(contents.columns["hour"])
        size = sum(shard.bytes for shard in contents.shards)
        held = f"{shards} shards, {blocks} blocks, {size / 1e6:.1f} MB"
        return self._as_text(problems, held, {"shards": shards, "blocks": blocks})

    def _as_text(self, problems: Sequence[Problem], held: str, counts: dict[str, Any]) -> int:
        if self.json:
            print(json.dumps({"problems": [asdict(problem) for problem in problems], **counts}, indent=2))
        else:
            for problem in problems:
                print(problem)
            print(f"{self.folder}: {held}: {f'{len(problems)} problems' if problems else 'all good'}")
        return 1 if problems else 0
