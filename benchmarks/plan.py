"""Claim: 16.8 million blocks (700,000 person-days) are planned in seconds, once per node, below 1 GB per process.

A manifest without data is generated, then opened and planned as in training: by two processes at once, the second of
which waits for the plan of the first and maps it. Peak memory is measured in a fresh process; pages shared between
processes count in each of them.

    python -m benchmarks.plan [--blocks 16800000]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.report import RESULTS, machine
from data_shards.shards import manifest as manifests
from data_shards.shards.manifest import ShardInfo
from data_shards.stream.node_cache import NodeCache
from data_shards.stream.plan import OrderConfig
from data_shards.stream.planner import Planner
from data_shards.stream.shared_manifest import open_manifest

BLOCKS_PER_SHARD = 1500
HOURS_PER_PERSON = 7 * 24
ORDER = OrderConfig(window_seconds=10, batch=4096, lanes=256, seed=0)


def write_manifest(folder: Path, blocks: int) -> None:
    """A manifest of people who wore a device for a week; one in five is in the held-out set."""
    random = np.random.default_rng(0)
    people = -(-blocks // HOURS_PER_PERSON)
    person = np.repeat(np.arange(people, dtype=np.int32), HOURS_PER_PERSON)[:blocks]
    hour = np.tile(np.arange(HOURS_PER_PERSON, dtype=np.int32), people)[:blocks] + 450_000
    clock = hour % 24
    motion = random.gamma(1.5, 60, blocks) * np.where((clock > 6) & (clock < 23), 1.0, 0.05)
    shard = np.arange(blocks, dtype=np.int32) // BLOCKS_PER_SHARD
    heldout = int(0.8 * (blocks // BLOCKS_PER_SHARD))
    split = ["train" if number < max(heldout, 1) else "heldout" for number in range(int(shard[-1]) + 1)]
    sizes = np.bincount(shard)
    shards = tuple(
        ShardInfo(f"{each}-{number:06d}.tar", each, int(size) * 667_136, "0" * 32, int(size))
        for number, (each, size) in enumerate(zip(split, sizes, strict=True))
    )
    columns: dict[str, NDArray[np.generic]] = {
        "shard": shard,
        "offset": (np.arange(blocks, dtype=np.int64) % BLOCKS_PER_SHARD) * 667_136 + 1024,
        "length": np.full(blocks, 667_136, np.int32),
        "hash": random.integers(0, 1 << 63, blocks, dtype=np.uint64),
        "hour": hour,
        "samples": np.full(blocks, 108_000, np.int32),
        "wear_seconds": np.full(blocks, 3600, np.int16),
        "motion_mass": motion.astype(np.float32),
        **{f"starts_{seconds}": np.full(blocks, 3601 - seconds, np.int16) for seconds in manifests.WINDOW_SECONDS},
    }
    names = pa.array([f"p{number:07d}" for number in range(people)])
    arrays = [
        pa.DictionaryArray.from_arrays(pa.array(person), names)
        if field.name in ("participant", "recording")
        else pa.array(columns[field.name])
        for field in manifests.SCHEMA
    ]
    manifests.write(folder, pa.Table.from_arrays(arrays, schema=manifests.SCHEMA), shards, {"preprocessing": {}})


def work(folder: Path, cache: Path) -> dict[str, float]:
    """Open, plan and seek in this process; returns seconds and megabytes."""
    start = time.perf_counter()
    shared = NodeCache.open(cache)
    manifest = open_manifest(str(folder), shared)
    opened = time.perf_counter()
    planner = Planner(manifest, "train", ORDER, shared)
    plan = planner.plan(1)
    planned = time.perf_counter()
    planner = Planner(manifest, "train", ORDER, shared)
    plan = planner.plan(1)
    found = time.perf_counter()
    first = plan.steps // 2 * ORDER.per_lane // ORDER.shuffle_windows
    for lane in range(16):
        visits = plan.visits(*plan.bounds(lane, first))
        plan.shuffled(lane, first)
        assert len(manifest.columns["offset"][plan.rows[visits.start : visits.stop]]) == len(visits)
    sought = time.perf_counter()
    return {
        "open the manifest, s": opened - start,
        "plan an epoch, s": planned - opened,
        "seek to the middle with the plan there, s": sought - planned,
        "of which checking and mapping the plan, s": found - planned,
        "peak resident memory, pages shared with others included, MB": _status("VmHWM"),
        "of which its own at the end, MB": _status("RssAnon"),
        "steps in the epoch": plan.steps,
        "visited hours": len(plan.rows),
    }


def _status(name: str) -> float:
    """Peak memory in MB, from /proc: getrusage would include the peak of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def started(folder: Path, cache: Path) -> "subprocess.Popen[str]":
    """Run `work` in a separate process."""
    command = [sys.executable, "-m", "benchmarks.plan", "--work", str(folder), "--cache", str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=16_800_000)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(work(arguments.work, arguments.cache)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "shards", Path(name) / "cache"
        folder.mkdir()
        write_manifest(folder, arguments.blocks)
        first = started(folder, cache)
        time.sleep(0.5)
        second = started(folder, cache)
        rows: dict[str, float] = {"blocks": arguments.blocks}
        for label, process in (("first", first), ("second, at the same time", second)):
            found = json.loads(process.communicate()[0])
            assert process.returncode == 0
            rows |= {f"{label}: {key}": value for key, value in found.items()}
        (third,) = [json.loads(started(folder, cache).communicate()[0])]
        rows |= {f"later: {key}": value for key, value in third.items()}
        stored = sum(path.stat().st_size for path in cache.rglob("*.npy"))
        rows["in the node's cache, shared by all its processes, MB"] = stored / 2**20
        rows["manifest.parquet, MB"] = (folder / manifests.FILE_NAME).stat().st_size / 2**20
    about = machine("pyarrow")
    print("\nplan")
    for label, value in rows.items():
        print(f"  {label:<90}  {value:>12,.4g}" if value < 1000 else f"  {label:<90}  {value:>12,.0f}")
    print("  on " + json.dumps(about))
    path = RESULTS / "plan.json"
    path.write_text(json.dumps({"rows": rows, "on": about}, indent=2) + "\n")
    print(f"  saved to {path}")


if __name__ == "__main__":
    main()
