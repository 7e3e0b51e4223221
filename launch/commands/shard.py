"""`harnet shard`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import find_policy
from data_shards.shards.compression import Compression
from data_shards.shards.shard_plan import ShardOptions
from data_shards.shards.shard_summary import as_text, summarise
from data_shards.shards.writer import write_shards
from data_shards.withdrawals import read_ids
from harnet.parts import Part


@dataclass(frozen=True)
class Command:
    """Cut a cohort store into WebDataset tar shards of person-hour blocks, with a manifest.

    Recordings that violate the quality policy and hours without wear time are excluded. Participants are split into a
    training and a held-out set by a stable hash. The same cohort gives the same bytes; the same command resumes an
    interrupted run.

    Example:
        harnet shard cohort.zarr --out shards --workers 8
        harnet shard cohort.zarr --out shards --quality none --compression zstd
        harnet shard cohort.zarr --out shards --part 3/100 --listing recordings-$SLURM_ARRAY_JOB_ID
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store written by `harnet ingest`."""
    out: Path
    """Folder for the shards: new, empty, or of an interrupted run."""
    quality: str = "uk-biobank"
    """Quality policy: uk-biobank, none (exclude nothing), or a TOML file with limits."""
    exclude: Path | None = None
    """Text file with one participant id per line; their recordings are excluded."""
    compression: Compression = ShardOptions.compression
    """zstd: lossless, about half the size; for file systems that would otherwise be too slow for the GPUs."""
    blocks_per_shard: int = ShardOptions.blocks_per_shard
    """Person-hours per tar; 1,500 full hours are about 1 GB, or half of that compressed."""
    split_salt: str = ShardOptions.split_salt
    """Salt of the split; another salt holds out other people."""
    part: str | None = None
    """Write only this share of the shards, such as 3/100. The part that finishes last writes the manifest."""
    listing: Path | None = None
    """With --part: path at which the first part stores the list of recordings for the others; use one per array."""
    workers: int = 1
    """Worker processes, each writing its own shards."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Write the shards, then print a summary of the folder; returns the exit code."""
        options = ShardOptions(
            blocks_per_shard=self.blocks_per_shard,
            split_salt=self.split_salt,
            compression=self.compression,
            quality=find_policy(self.quality),
        )
        exclude = read_ids(self.exclude) if self.exclude else frozenset()
        part = Part.parse(self.part) if self.part else None
        written = write_shards(Cohort.open(self.cohort, self.listing), self.out, options, self.workers, part, exclude)
        summary = summarise(written, self.out)
        print(json.dumps(summary, indent=2) if self.json else as_text(written, summary, self.out, part, self.exclude))
        return 0
