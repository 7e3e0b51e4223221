"""`harnet shard`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from data_shards import manifest, writer
from data_shards.cohort import Cohort
from data_shards.writer import ShardOptions


@dataclass(frozen=True)
class Command:
    """Cut a cohort store into WebDataset tar shards of person-hour blocks, with a manifest.

    Only hours with wear time are kept. Participants are split into training and held-out by a stable hash. The same
    cohort gives the same bytes; a run that was stopped goes on where it was.

    Example: harnet shard cohort.zarr --out shards --workers 8
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store that `harnet ingest` made."""
    out: Path
    """Folder for the shards: new, empty, or of a run that was stopped."""
    options: Annotated[ShardOptions, tyro.conf.arg(name="")] = field(default_factory=ShardOptions)
    """What decides the bytes."""
    workers: int = 1
    """Processes, each writing shards of its own."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Shard, then say what is in the folder."""
        planned = writer.write(Cohort.open(self.cohort), self.out, self.options, self.workers)
        summary = summarise(self.out) | {"hours_not_worn": planned.hours_not_worn}
        if self.json:
            print(json.dumps(summary, indent=2))
            return 0
        for split in ("train", "heldout"):
            print("{split}: {people} people, {person_days} person-days, {blocks} blocks, {shards} shards, "
                  "{wear_hours:.1f} h worn".format(split=split, **summary[split]))  # fmt: skip
        print(f"left out: {planned.hours_not_worn} hours without wear time")
        if not summary["heldout"]["people"]:
            print("note: nobody is held out, so training will have no held-out loss; another --split-salt moves people")
        print(f"{self.out / manifest.FILE_NAME}: digest {summary['digest'][:16]}")
        return 0


def summarise(folder: Path) -> dict:
    """Counts of a shard folder by split."""
    contents = manifest.read(folder)
    summary: dict = {"manifest": str(folder / manifest.FILE_NAME), "digest": contents.digest}
    for split in ("train", "heldout"):
        rows = contents.rows(split)
        summary[split] = {
            "people": contents.people(rows),
            "person_days": contents.person_days(rows),
            "blocks": len(rows),
            "shards": sum(shard.split == split for shard in contents.shards),
            "wear_hours": float(contents.columns["wear_seconds"][rows].sum()) / 3600,
        }
    return summary
