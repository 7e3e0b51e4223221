"""Claim: 1,000,000 ten-second windows/s/core from checked blocks, 20 times stock webdataset with one window per member.

All read the same windows from the page cache on one core and deliver int16 batches of 512. The peers mosaicml-streaming
and litdata need an older NumPy, and therefore a separate interpreter:

    python -m venv peers && peers/bin/pip install torch mosaicml-streaming litdata
    python -m benchmarks.stream [--shards SHARDS] --peers-python peers/bin/python

Without SHARDS, synthetic people are generated (data_shards/synthetic) and sharded.
"""

import argparse
import io
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import webdataset as wds

from benchmarks.report import RESULTS, machine, rate
from data_shards.layout import RATE
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest as manifests
from data_shards.shards import writer
from data_shards.shards.manifest import Manifest
from data_shards.shards.shard_plan import ShardOptions
from data_shards.stream.plan import OrderConfig, plan_epoch
from data_shards.stream.reader import LaneReader
from data_shards.stream.shard_files import Shards
from data_shards.synthetic.make import synthesise
from data_shards.synthetic.synth_options import SynthOptions

BATCH = 512
ORDER = OrderConfig(window_seconds=10, batch=BATCH, lanes=16, seed=0)
PEERS = ("litdata", "mosaicml-streaming")
SHAPE = (BATCH, 3, ORDER.window_seconds * RATE)
EPOCHS = 4
"""Epochs of our stream per measurement: each visits different hours."""


@dataclass(frozen=True)
class Row:
    """Results of one way to read windows."""

    label: str
    """Name."""
    windows_s: float | None
    """Median windows/s; None if not measured."""
    bytes_a_window: float | None
    """Bytes read per window delivered; for single windows, bytes stored."""
    note: str = ""
    """Versions, or the reason why it was not measured."""


def ours(contents: Manifest, repeats: int) -> list[Row]:
    """The deterministic stream with the hash of every block checked, into the caller's memory and into new memory."""
    plans = [plan_epoch(contents, "train", ORDER, epoch) for epoch in range(EPOCHS)]
    out = np.empty(SHAPE, np.int16)
    rows = []
    with Shards(contents) as shards:
        reader = LaneReader(shards, ORDER, range(ORDER.lanes))

        def read(into: np.ndarray | None) -> Callable[[], int]:
            return lambda: sum(len(batch.windows) for plan in plans for batch in reader.batches(plan, out=into))

        read(out)()
        blocks = sum(batch.blocks for plan in plans for batch in reader.batches(plan))
        rows_read = np.concatenate([plan.rows for plan in plans])
        length = float(contents.columns["length"][rows_read].mean())
        cost = blocks * length / sum(plan.steps * BATCH for plan in plans)
        for label, into in (("given batch", out), ("new batches", None)):
            rows.append(Row(f"harnet, hashes checked, {label}", rate(read(into), repeats), cost))
    return rows


def all_windows(contents: Manifest) -> np.ndarray:
    """(n, 3, 300) windows of epoch 0, in the order of the stream."""
    plan = plan_epoch(contents, "train", ORDER, 0)
    with Shards(contents) as shards:
        reader = LaneReader(shards, ORDER, range(ORDER.lanes))
        return np.concatenate([batch.windows for batch in reader.batches(plan)])


def webdataset(windows: np.ndarray, path: Path, repeats: int) -> list[Row]:
    """One window per tar member, through webdataset's own pipeline."""
    with path.open("wb") as file, wds.TarWriter(file, encoder=False, mtime=0) as tar:
        for number, window in enumerate(windows):
            buffer = io.BytesIO()
            np.save(buffer, window)
            tar.write({"__key__": f"{number:09d}", "accel.npy": buffer.getvalue()})

    def read() -> int:
        pipeline = wds.WebDataset(str(path), shardshuffle=False).shuffle(2048).decode().to_tuple("accel.npy")
        return sum(len(batch) for (batch,) in pipeline.batched(BATCH, partial=False))

    read()
    stored = path.stat().st_size / len(windows)
    return [Row("webdataset, one window a member, shuffled", rate(read, repeats), stored)]


def peers(windows: np.ndarray, folder: Path, python: Path | None, repeats: int) -> list[Row]:
    """The peers, each in a process of the separate interpreter."""
    rows = []
    np.save(folder / "windows.npy", windows)
    script = Path(__file__).with_name("stream_peers.py")
    for name in PEERS:
        label = f"{name}, single windows, shuffled"
        if python is None:
            rows.append(Row(label, None, None, "not measured: no --peers-python given"))
            continue
        command = [python, script, name, folder / "windows.npy", folder / name, str(repeats)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            rows.append(Row(label, None, None, f"not measured: {reason}"))
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        note = f"{name} {found['version']}, torch {found['torch']}, numpy {found['numpy']}"
        rows.append(Row(label, found["rate"], found["bytes"], note))
    return rows


def publish(rows: list[Row], about: dict[str, object]) -> None:
    """Print the table and save it."""
    print("\nstream (one core, page cache, medians)")
    print(f"  {'':<42}  {'windows/s':>10}  {'times':>7}  {'bytes a window':>14}")
    best = rows[0].windows_s or 0.0
    for row in rows:
        if row.windows_s is None:
            print(f"  {row.label:<42}  {row.note}")
        else:
            times = best / row.windows_s
            print(f"  {row.label:<42}  {row.windows_s:>10,.0f}  {times:>7.1f}  {row.bytes_a_window:>14,.0f}")
    print("  times: how many times slower than the first row\n  on " + json.dumps(about))
    path = RESULTS / "stream.json"
    path.write_text(json.dumps({"rows": [asdict(row) for row in rows], "on": about}, indent=2) + "\n")
    print(f"  saved to {path}")


def main() -> None:
    """Measure, print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, help="shard folder; default: synthetic people")
    parser.add_argument("--people", type=int, default=16, help="synthetic people, three days each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers-python", type=Path, help="interpreter that has litdata and mosaicml-streaming")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = arguments.shards
        if shards is None:
            shards = folder / "shards"
            cohort = synthesise(folder / "cohort.zarr", arguments.people, SynthOptions(3))
            writer.write_shards(cohort, shards, ShardOptions(quality=POLICIES["none"]))
        contents = manifests.read(shards)
        rows = ours(contents, arguments.repeats)
        windows = all_windows(contents)
        rows += webdataset(windows, folder / "single.tar", arguments.repeats)
        rows += peers(windows, folder, arguments.peers_python, arguments.repeats)
    about = machine("webdataset", "xxhash") | {
        "data": "synthetic" if arguments.shards is None else "shards given",
        "person_days": contents.person_days(contents.rows("train")),
        "windows_an_epoch": len(windows),
    }
    publish(rows, about)


if __name__ == "__main__":
    main()
