"""Claim: the load of each stage on a machine and a file system grows no faster than the number of recordings.

Recordings of one hour go through the whole pipeline, one shard per recording: synth; ingest (of generated .cwa files),
shard, verify, one epoch of the stream, embed. Besides time, memory and open files of each stage's processes are
sampled, and strace counts the operations that a parallel file system serves from its metadata server. A quarter of the
recordings runs first; the straight line through both runs extrapolates to 100,000. Memory is sampled ten times per
second and varies by some MB from run to run, so a small run says little about memory at 100,000. Processes may have 256
files open, a quarter of the usual limit, so that few shards show what many would do. Times are measured under strace.

    python -m benchmarks.population --recordings 2000 --workers 2
    python -m benchmarks.population --recordings 40          # a quick run of some minutes
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import make_cwa
from benchmarks.report import RESULTS, machine
from data_shards.parallel import run_all

POPULATION = 100_000
SECONDS_BETWEEN_LOOKS = 0.1
MOST_OPEN = 256
"""Limit of open files per process."""
KINDS = {
    "open": ("open", "openat", "creat"),
    "look up": ("stat", "lstat", "newfstatat", "statx", "access", "faccessat2", "readlink", "readlinkat"),
    "list": ("getdents64",),
    "change": ("mkdir", "mkdirat", "rename", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat", "chmod"),
    "flush": ("fsync", "fdatasync"),
}
"""Kind of metadata operation -> system calls."""
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")
_KIND = {call: kind for kind, calls in KINDS.items() for call in calls}


@dataclass(frozen=True)
class Cost:
    """Resources that one stage used."""

    seconds: float
    """Wall-clock time, under strace."""
    peak_mb: float
    """Peak resident memory of all its processes together."""
    open_files: int
    """Maximum number of files that one process had open."""
    inodes: int
    """Files and folders that it created."""
    operations: dict[str, int]
    """Kind -> number of metadata operations on paths of the benchmark."""


def commands(folder: Path, recordings: int, workers: int) -> Iterator[tuple[str, list[str], str]]:
    """Stage, its command, and its output inside `folder`."""
    harnet, many = [sys.executable, "-m", "launch"], ["--workers", str(workers)]
    at = {name: str(folder / name) for name in ("synth.zarr", "files", "cohort.zarr", "shards", "weights", "features")}
    made = ["--people", str(recordings), "--hours", "1", "--out", at["synth.zarr"]]
    yield "synth", [*harnet, "synth", *made, *many], "synth.zarr"
    yield "ingest", [*harnet, "ingest", at["files"], "--out", at["cohort.zarr"], *many], "cohort.zarr"
    cut = ["--out", at["shards"], "--quality", "none", "--blocks-per-shard", "1"]
    yield "shard", [*harnet, "shard", at["cohort.zarr"], *cut, *many], "shards"
    yield "verify store", [*harnet, "verify", at["cohort.zarr"], *many], ""
    yield "verify shards", [*harnet, "verify", at["shards"], *many], ""
    yield "stream", [sys.executable, "-m", "benchmarks.population", "--read", at["shards"]], ""
    few = ["--weights", at["weights"], "--out", at["features"], "--step", "600"]
    yield "embed", [*harnet, "embed", at["cohort.zarr"], *few, *many], "features"


def make_inputs(folder: Path, recordings: int, workers: int) -> None:
    """Device files, and weights of a small encoder, since the cost of the network is not measured here."""
    from harnet.heads import PretextModel
    from harnet.weights.bundle import BundleConfig, save

    (folder / "files").mkdir(parents=True)
    run_all(partial(_make_file, folder / "files"), range(recordings), workers, "device files", "file")
    save(folder / "weights", PretextModel("harnet5", width=8).state_dict(), BundleConfig("harnet5", 5, "none", width=8))


def _make_file(folder: Path, number: int) -> None:
    make_cwa.make(folder / f"p{number:06d}.cwa", make_cwa.MakeOptions(days=1 / 24, seed=number))


def read(shards: Path) -> None:
    """One epoch of the stream, in one process."""
    from data_shards.shards import manifest
    from data_shards.stream.plan import OrderConfig, plan_epoch
    from data_shards.stream.reader import LaneReader
    from data_shards.stream.shard_files import Shards

    order = OrderConfig(window_seconds=10, batch=64, lanes=4, seed=0, windows_per_visit=16, shuffle_windows=64)
    contents = manifest.read(shards)
    plan = plan_epoch(contents, "train", order, 0)
    with Shards(contents) as open_shards:
        windows = sum(len(batch.windows) for batch in LaneReader(open_shards, order, range(order.lanes)).batches(plan))
    print(f"{windows} windows from {len(contents.shards)} shards")


def measure(command: list[str], folder: Path, out: str) -> Cost:
    """Run a command under strace and sample its processes; exits if it fails."""
    log = folder / "strace.log"
    traced = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "--seccomp-bpf",
        "-o",
        str(log),
        "-e",
        f"trace={','.join(f'?{c}' for c in _KIND)}",
    ]
    start = time.perf_counter()
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen([*traced, *command], stdout=output, stderr=output, preexec_fn=_limit)
        watched = Watch(process.pid)
        code = process.wait()
    seconds = time.perf_counter() - start
    watched.stop()
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}: {(folder / 'output.log').read_text()[-2000:]}")
    operations: Counter[str] = Counter()
    with log.open(errors="replace") as lines:
        for line in lines:
            if str(folder) in line and (found := _CALL.match(line)):
                operations[_KIND[found[1]]] += 1
    log.unlink()
    made = sum(len(folders) + len(files) for _, folders, files in os.walk(folder / out)) if out else 0
    return Cost(seconds, watched.peak / 1e6, watched.open_files, made, dict(operations))


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_OPEN, MOST_OPEN))


class Watch:
    """Samples the descendants of a process periodically."""

    def __init__(self, pid: int) -> None:
        self.peak = self.open_files = 0
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            resident = 0
            for pid in _below(self._pid):
                try:
                    resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
                    self.open_files = max(self.open_files, len(os.listdir(f"/proc/{pid}/fd")))
                except OSError:
                    continue  # it has ended
            self.peak = max(self.peak, resident)


def _below(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _below(child)


def run(recordings: int, workers: int, parent: Path) -> dict[str, Cost]:
    """Run every stage with this many recordings."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name).resolve()
        make_inputs(folder, recordings, workers)
        costs = {}
        for stage, command, out in commands(folder, recordings, workers):
            print(f"{recordings} recordings: {stage}", flush=True)
            costs[stage] = measure(command, folder, out)
        return costs


def projected(name: str, small: float, large: float, few: int, many: int) -> int:
    """Extrapolation of two runs to the size of a population; never below what was measured."""
    found = max(large, large + (large - small) / (many - few) * (POPULATION - many))
    # No process of these runs could have opened more, and each came to its end.
    return round(min(found, MOST_OPEN) if name == "open files" else found)


def table(few: int, many: int, small: dict[str, Cost], large: dict[str, Cost]) -> list[dict[str, object]]:
    """One row per stage: what was measured with many recordings, and the extrapolation to 100,000."""
    rows: list[dict[str, object]] = []
    for stage, cost in large.items():
        before = small[stage]
        pairs = {
            "peak MB": (before.peak_mb, cost.peak_mb),
            "open files": (before.open_files, cost.open_files),
            "inodes": (before.inodes, cost.inodes),
            "operations": (sum(before.operations.values()), sum(cost.operations.values())),
        }
        rows.append({"stage": stage} | {
            name: {"seen": round(there), "at 100,000": projected(name, here, there, few, many)}
            for name, (here, there) in pairs.items()
        })  # fmt: skip
    return rows


def as_text(rows: list[dict[str, object]], many: int) -> str:
    """A Markdown table."""
    names = [name for name in rows[0] if name != "stage"]
    lines = [
        f"| stage | {' | '.join(f'{name}, {many:,} → 100,000' for name in names)} |",
        "|---|" + "---|" * len(names),
    ]
    for row in rows:
        cells = [f"{row[name]['seen']:,} → {row[name]['at 100,000']:,}" for name in names]  # type: ignore[index]
        lines.append(f"| {row['stage']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="folder to work in")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        read(options.read)
        return
    few, many = max(2, options.recordings // 4), options.recordings
    small, large = (run(count, options.workers, options.folder) for count in (few, many))
    rows = table(few, many, small, large)
    print(as_text(rows, many))
    found = {"recordings": many, "workers": options.workers, "rows": rows}
    found |= {"runs": {few: {k: asdict(v) for k, v in small.items()}, many: {k: asdict(v) for k, v in large.items()}}}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "population.json").write_text(json.dumps(found | {"on": machine("zarr")}, indent=2) + "\n")


if __name__ == "__main__":
    main()
