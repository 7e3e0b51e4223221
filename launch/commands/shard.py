"""`harnet shard`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import find_policy
from data_shards.shards import manifest
from data_shards.shards.compression import Compression
from data_shards.shards.shard_plan import ShardOptions
from data_shards.shards.writer import WriteResult, write
from data_shards.withdrawals import read_ids
from harnet.parts import Part


@dataclass(frozen=True)
class Command:
    """Cut a cohort store into WebDataset tar shards of person-hour blocks, with a manifest.

    Recordings that break a rule of the quality policy are left out, and so are hours without wear time. Participants
    are split into training and held-out by a stable hash. The same cohort gives the same bytes; a run that was stopped
    goes on where it was.

    Example:
        harnet shard cohort.zarr --out shards --workers 8
        harnet shard cohort.zarr --out shards --quality none --compression zstd
        harnet shard cohort.zarr --out shards --part 3/100 --listing recordings-$SLURM_ARRAY_JOB_ID
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store that `harnet ingest` made."""
    out: Path
    """Folder for the shards: new, empty, or of a run that was stopped."""
    quality: str = "uk-biobank"
    """Which recordings to leave out: uk-biobank, none (leave out nothing), or a TOML file of limits."""
    exclude: Path | None = None
    """Text file of participants who withdrew, one a line: their recordings are left out."""
    compression: Compression = ShardOptions.compression
    """zstd: lossless, about half the bytes; for a file system that cannot feed the GPUs otherwise."""
    blocks_per_shard: int = ShardOptions.blocks_per_shard
    """Person-hours in a tar; 1,500 full hours are about 1 GB, half of that compressed."""
    split_salt: str = ShardOptions.split_salt
    """Another salt holds out other people."""
    part: str | None = None
    """Write this share of the shards only, such as 3/100. Whoever comes last writes the manifest."""
    listing: Path | None = None
    """With --part: where the first part keeps the list of recordings, for all others to read; of one array only."""
    workers: int = 1
    """Processes, each writing shards of its own."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Shard, then say what is in the folder."""
        options = ShardOptions(
            blocks_per_shard=self.blocks_per_shard,
            split_salt=self.split_salt,
            compression=self.compression,
            quality=find_policy(self.quality),
        )
        exclude = read_ids(self.exclude) if self.exclude else frozenset()
        part = Part.parse(self.part) if self.part else None
        written = write(Cohort.open(self.cohort, self.listing), self.out, options, self.workers, part, exclude)
        summary = _left_out(written)
        summary |= {"missing_shards": len(written.missing)} if written.missing else summarise(self.out)
        print(json.dumps(summary, indent=2) if self.json else self._as_text(written, summary, part))
        return 0

    def _as_text(self, written: WriteResult, summary: dict[str, Any], part: Part | None) -> str:
        planned = written.planned
        lines = [planned.flow.as_text()]
        if planned.withdrawn:
            lines.append(f"left out before: {planned.withdrawn} recordings of participants in {self.exclude}")
        lines.append(f"left out: {planned.hours_not_worn} hours without wear time")
        if written.missing:
            assert part is not None
            return "\n".join([*lines, f"{self.out}: {_waiting(written, part)}"])
        lines += [
            "{split}: {people} people, {person_days} person-days, {blocks} blocks, {shards} shards, "
            "{wear_hours:.1f} h worn".format(split=split, **summary[split])
            for split in ("train", "heldout")
        ]
        if not summary["heldout"]["people"]:
            lines.append(
                "note: nobody is held out, so training will have no held-out loss; another --split-salt moves people"
            )
        if summary["purged"]:
            lines.append(
                f"note: {summary['purged']['recordings']} recordings were purged from this folder since it was written"
            )
        return "\n".join([*lines, f"{self.out / manifest.FILE_NAME}: digest {summary['digest'][:16]}"])


def _left_out(written: WriteResult) -> dict[str, Any]:
    planned = written.planned
    return {
        "flow": planned.flow.as_dict(),
        "withdrawn": planned.withdrawn,
        "hours_not_worn": planned.hours_not_worn,
        "finished": not written.missing,
    }


def _waiting(written: WriteResult, part: Part) -> str:
    """Which parts have not done their share yet."""
    parts = sorted({shard.number % part.count + 1 for shard in written.missing})
    listed = ", ".join(map(str, parts[:20])) + (" and others" if len(parts) > 20 else "")
    missing = f"{len(written.missing)} of {len(written.planned.shards)} shards are missing"
    return (
        f"part {part.number} of {part.count} is done; {missing}, of part{'s' if len(parts) > 1 else ''} {listed}; "
        "the manifest is written by whoever comes last"
    )


def summarise(folder: Path) -> dict[str, Any]:
    """Counts of a shard folder by split."""
    contents = manifest.read(folder)
    summary: dict[str, Any] = {
        "manifest": str(folder / manifest.FILE_NAME),
        "digest": contents.digest,
        "purged": contents.provenance.get("purged"),
    }
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
