"""Claim: no stage makes more than a few dozen file-system calls per recording, whatever the number of recordings.

On a cluster all users share the metadata server, and with 100,000 recordings, habits that cost nothing on a laptop can
bring it down. All stages run under strace with two numbers of recordings: the difference gives the cost of one more
recording, and the line through both extrapolates to 100,000. Recordings last an hour; device files are tables of one
line.

    python -m benchmarks.metadata [--recordings 2000] [--folder DISK]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cohort_index import WEEK
from data_shards.cohort import index as cohort_index
from data_shards.cohort import integrity
from data_shards.cohort.store import Cohort
from data_shards.layout import SAMPLES_PER_HOUR, SECONDS_PER_HOUR

CALLS = (
    "open,openat,openat2,creat,stat,lstat,fstat,newfstatat,statx,access,faccessat,faccessat2,readlink,readlinkat,"
    "getdents64,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,utimensat,fsync,fdatasync"
)
"""Calls that reach a metadata server, and flushes."""
POPULATION = 100_000
PARTS = 10
"""Ratio of the larger to the smaller number of recordings."""
BLOCKS_PER_SHARD = 10
"""Small, so that the number of shards per recording is that of a population with recordings of a week."""
MARK = "/harnet-stage/"
"""A path that does not exist: a call for it marks the start of a stage in the log of strace."""


def store_one_more(cohort: Cohort, name: str) -> None:
    """A recording of an hour."""
    random = np.random.default_rng(0)
    accel = random.integers(-200, 200, (3, SAMPLES_PER_HOUR), np.int16)
    motion, wear = np.full(SECONDS_PER_HOUR, 0.1, np.float32), np.ones(SECONDS_PER_HOUR, np.uint8)
    info = replace(WEEK, recording=name, participant=name, hours=1, worn_seconds_by_hour=(SECONDS_PER_HOUR,))
    cohort.write(replace(info, complete_seconds=SECONDS_PER_HOUR), accel, motion, wear)


def fill(cohort: Cohort, first: int, stop: int) -> None:
    """Copies of the first recording under other names, which is faster than ingesting them."""
    if first == 0:
        store_one_more(cohort, "r0000000")
    template, rows = cohort.root / "r0000000", []
    for number in range(max(first, 1), stop):
        folder = cohort.root / f"r{number:07d}"
        shutil.copytree(template, folder)
        document = json.loads((folder / integrity.METADATA).read_bytes())
        del document["attributes"][integrity.ATTRIBUTE]
        document["attributes"] |= {"recording": folder.name, "participant": folder.name}
        (folder / integrity.METADATA).write_text(json.dumps(document))
        integrity.seal(folder)
        rows.append(cohort_index.row_of(cohort.info(folder.name), folder))
    cohort_index.add(cohort.root, rows)


def stages(folder: Path, count: int) -> None:
    """Run all stages, in a process under strace, each after its mark."""
    from data_shards.cohort import verify_cohort as stores
    from data_shards.ingest.walk import listed_below
    from data_shards.quality.policy import POLICIES
    from data_shards.shards import writer
    from data_shards.shards.shard_plan import ShardOptions
    from data_shards.shards.verify_shards import verify_shards
    from data_shards.stream.node_cache import NodeCache
    from data_shards.stream.plan import OrderConfig
    from data_shards.stream.planner import Planner
    from data_shards.stream.reader import LaneReader
    from data_shards.stream.shard_files import Shards
    from data_shards.stream.shared_manifest import open_manifest

    inputs, out, cohort = folder / "inputs", folder / f"out-{count}", Cohort.open(folder / "cohort.zarr")
    order = OrderConfig(window_seconds=10, batch=64, lanes=16, seed=0, windows_per_visit=256, shuffle_windows=2048)

    def epoch() -> None:
        kept = NodeCache.open(out / "cache")
        contents = open_manifest(str(out / "shards"), kept)
        plan = Planner(contents, "train", order, kept).plan(0)
        with Shards(contents) as shards:
            for _ in LaneReader(shards, order, range(16)).batches(plan):
                pass

    options = ShardOptions(quality=POLICIES["none"], blocks_per_shard=BLOCKS_PER_SHARD)
    other, listed = Cohort.create(out / "other.zarr"), Cohort.open(cohort.root, out / "recordings")
    for stage, work in {
        "ingest, first element: find the files": lambda: listed_below([inputs], out / "listing"),
        "ingest, each further element: find them": lambda: listed_below([inputs], out / "listing"),
        "ingest: store a twentieth of them": lambda: [
            store_one_more(other, f"r{number}") for number in range(count // 20)
        ],
        "shard, quality, embed, first element: list": lambda: list(listed.infos()),
        "shard, ..., each further element: list": lambda: list(listed.infos()),
        "shard: all recordings, then the manifest": lambda: writer.write_shards(cohort, out / "shards", options),
        "verify: the store": lambda: stores.verify_cohort(cohort.root),
        "verify: the shards": lambda: verify_shards(out / "shards"),
        "pretrain: manifest, plan and an epoch": epoch,
        "end": lambda: None,
    }.items():
        os.access(MARK + stage, os.F_OK)
        work()


def counted(folder: Path, count: int, before: int) -> Counter[str]:
    """Calls of every stage for `count` recordings, of which `before` already exist."""
    for number in range(before, count):
        path = folder / "inputs" / f"{number // 100:05d}" / f"r{number:07d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("time,x,y,z\n0,0,0,1\n")
    fill(Cohort.create(folder / "cohort.zarr"), before, count)
    (folder / f"out-{count}").mkdir()
    log = folder / "strace"
    command = ["strace", "-f", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-m", "benchmarks.metadata"]
    subprocess.run([*command, "--stages", "--recordings", str(count), "--folder", str(folder)], check=True)
    calls: Counter[str] = Counter()
    stage = ""
    with log.open(errors="replace") as lines:
        for line in lines:
            if MARK in line:
                stage = line.partition(MARK)[2].partition('"')[0]
            elif stage and "resumed>" not in line and " +++ " not in line and " --- " not in line:
                calls[stage] += 1
    return calls


def main() -> None:
    """Count and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="folder to work in; default: the temporary folder")
    parser.add_argument("--stages", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stages:
        stages(given.folder, given.recordings)
        return
    if shutil.which("strace") is None:
        print("needs strace, which counts system calls: apt-get install strace")
        return
    many, few = given.recordings, max(1, given.recordings // PARTS)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        small, large = counted(Path(name), few, 0), counted(Path(name), many, few)
    publish(small, large, few, many)


def publish(small: Counter[str], large: Counter[str], few: int, many: int) -> None:
    """Print the table and save it."""
    from benchmarks.report import RESULTS, machine  # not above: the stages need no torch

    rows = {}
    print(f"\nsystem calls to a file system\n  {'':<41} {few:>9,} {many:>9,}  one more {POPULATION:>11,}")
    for stage in large:
        if stage != "end":
            each = (large[stage] - small[stage]) / (many - few)
            all_of_them = round(large[stage] + each * (POPULATION - many))
            rows[stage] = {"one more": round(each, 2), str(many): large[stage], str(POPULATION): all_of_them}
            print(f"  {stage:<41} {small[stage]:>9,} {large[stage]:>9,} {each:>9.2f} {all_of_them:>11,}")
    about = machine("zarr", "pyarrow") | {"recordings": [few, many], "blocks_per_shard": BLOCKS_PER_SHARD}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "metadata.json"
    path.write_text(json.dumps({"unit": "system calls", "rows": rows, "on": about}, indent=2) + "\n")
    print(f"  saved to {path}")


if __name__ == "__main__":
    main()
