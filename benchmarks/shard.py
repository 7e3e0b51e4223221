"""Claim: from a warm cohort store, one core writes at least 20 person-days of shards per second.

Synthetic people in a temporary folder, read once before measuring; the process is pinned to one core. Reading alone and
encoding alone are measured too, to show the bottleneck, and reading through Zarr, which sharding does not do.
Two clocks: wall-clock time, in which one process also waits for the disk to flush each shard, and processor time, which
is what counts if other workers use the core meanwhile.

    python -m benchmarks.shard [--people 4] [--days 5] [--folder DISK]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from benchmarks.report import machine, publish, rate
from data_shards.cohort.store import Cohort
from data_shards.layout import SAMPLES_PER_HOUR
from data_shards.quality.policy import POLICIES
from data_shards.shards.block import encode
from data_shards.shards.compression import Compression
from data_shards.shards.shard_plan import ShardOptions, plan_shards
from data_shards.shards.writer import read_blocks, write_shards
from data_shards.synthetic.make import synthesise
from data_shards.synthetic.synth_options import SynthOptions

DAY_BYTES = 24 * SAMPLES_PER_HOUR * 3 * 2
OPTIONS = ShardOptions(quality=POLICIES["none"])


def reading_by_zarr(cohort: Cohort) -> int:
    """The same hours through Zarr, two days at a time, which is its fastest way."""
    blocks = 0
    for shard in plan_shards(cohort, OPTIONS).shards:
        for piece in shard.pieces:
            stored, stop = cohort.open_recording(piece.recording), int(piece.hours[-1]) + 1
            for first in range(int(piece.hours[0]), stop, 48):
                assert stored.read_hours(first, min(first + 48, stop)).accel.shape[1]
            blocks += len(piece.hours)
    return blocks


def reading(cohort: Cohort) -> int:
    """Read blocks from the store and drop them."""
    shards = plan_shards(cohort, OPTIONS).shards
    return sum(1 for shard in shards for piece in shard.pieces for _ in read_blocks(cohort, piece))


def encoding(cohort: Cohort, compression: Compression) -> int:
    """Read blocks from the store, encode them and drop the bytes."""
    shards = plan_shards(cohort, OPTIONS).shards
    blocks = (block for shard in shards for piece in shard.pieces for block in read_blocks(cohort, piece))
    return sum(encode(block, compression).length > 0 for block in blocks)


def sharding(cohort: Cohort, folder: Path, compression: Compression) -> int:
    """The whole of `harnet shard`, into a new folder each time."""
    folder = Path(tempfile.mkdtemp(dir=folder)) / "shards"
    planned = write_shards(cohort, folder, replace(OPTIONS, compression=compression)).planned
    return sum(len(piece.hours) for shard in planned.shards for piece in shard.pieces)


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder; default: TMPDIR")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as made:
        cohort = synthesise(Path(made) / "cohort.zarr", arguments.people, SynthOptions(days=arguments.days))
        blocks = sharding(cohort, Path(made), "none")
        parts: dict[str, Callable[[], int]] = {
            "reading through Zarr, alone": lambda: reading_by_zarr(cohort),
            "reading, alone": lambda: reading(cohort),
        }
        for kind in get_args(Compression):
            parts[f"reading and encoding, {kind}"] = lambda kind=kind: encoding(cohort, kind)
            parts[f"harnet shard, {kind}"] = lambda kind=kind: sharding(cohort, Path(made), kind)
        for label, work in parts.items():
            began = time.process_time()
            # Counted in full hours; a person-day is 24 of them.
            rows[f"{label}, wall"] = rate(work, arguments.repeats) / 24
            rows[f"{label}, core time"] = arguments.repeats * blocks / 24 / (time.process_time() - began)
    about = machine("zarr", "numcodecs", "xxhash") | {
        "person_days": blocks / 24,
        "MB/s of signal": {label: round(value * DAY_BYTES / 1e6) for label, value in rows.items()},
    }
    publish("shard", "person-days/s on one core", rows, about)


if __name__ == "__main__":
    main()
