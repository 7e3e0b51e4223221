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
from data_shards.shards.writer import write
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
        summary = summarise(written, self.out)
        print(json.dumps(summary, indent=2) if self.json else as_text(written, summary, self.out, part, self.exclude))
        return 0
