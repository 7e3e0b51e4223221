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
    """Read every byte of a shard folder and compare it with the manifest, or of a cohort store, with its checksums.

    Each problem is one line: file, what was expected and found, what to do. Exit code 0 means none.

    Example: harnet verify shards
    Example: harnet verify cohort.zarr --workers 8
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder that `harnet shard` or `harnet ingest` made."""
    workers: int = 1
    """Processes, each reading shards or recordings of its own."""
    json: bool = False
    """Print the problems as JSON."""

    def run(self) -> int:
        """Check, print, and fail if anything is wrong."""
        # A cohort store has this file, a shard folder never.
        return self._store() if (self.folder / "zarr.json").exists() else self._shards()

    def _store(self) -> int:
        report = stores.verify_cohort(self.folder, self.workers)
        held = f"{report.recordings} recordings, {report.bytes / 1e6:.1f} MB"
        if report.unsealed:
            held += (
                f", {report.unsealed} of them without checksums (ingested by an earlier harnet; ingest anew for some)"
            )
        return self._said(report.problems, held, {"recordings": report.recordings, "unsealed": report.unsealed})

    def _shards(self) -> int:
        problems = verify_shards(self.folder, self.workers)
        contents = manifest.read(self.folder)
        shards, blocks = len(contents.shards), len(contents.columns["hour"])
        size = sum(shard.bytes for shard in contents.shards)
        held = f"{shards} shards, {blocks} blocks, {size / 1e6:.1f} MB"
        return self._said(problems, held, {"shards": shards, "blocks": blocks})

    def _said(self, problems: Sequence[Problem], held: str, counts: dict[str, Any]) -> int:
        if self.json:
            print(json.dumps({"problems": [asdict(problem) for problem in problems], **counts}, indent=2))
        else:
            for problem in problems:
                print(problem)
            print(f"{self.folder}: {held}: {f'{len(problems)} problems' if problems else 'all good'}")
        return 1 if problems else 0
