"""Claim: a week of an AX3 at 100 Hz (60 million samples) becomes a stored recording in 25 s on one core, in 1 GB.

Each row runs in a separate process with one thread: the whole ingest (read, check, calibrate, resample, detect wear,
store), the reader alone, and, if installed, the reader of scikit-digital-health alone, which is written in C.

    python -m benchmarks.make_cwa week.cwa --days 7
    python -m benchmarks.ingest week.cwa
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path


def ingest(path: Path) -> int:
    """The whole ingest; returns the number of recordings stored."""
    from data_shards.ingest.run import IngestOptions
    from data_shards.ingest.run import ingest as work

    with tempfile.TemporaryDirectory() as folder:
        outcomes, _ = work([path], Path(folder) / "cohort.zarr", IngestOptions())
    assert [outcome.status for outcome in outcomes] == ["ingested"], outcomes
    return len(outcomes)


def reader(path: Path) -> int:
    """Our reader alone; returns the number of samples."""
    from data_shards.readers import read

    return sum(len(piece.times) for found in read(path) for piece in found.recording.pieces)


def peer(path: Path) -> int:
    """The reader of scikit-digital-health alone; returns the number of samples."""
    from skdh.io import ReadCwa

    return len(ReadCwa().predict(file=str(path), tz_name=None)["time"])


ROWS: dict[str, Callable[[Path], int]] = {"ingest": ingest, "reader": reader, "skdh": peer}
LABELS = {"ingest": "ingest, all of it", "reader": "the reader alone", "skdh": "skdh ReadCwa alone"}


def measure(row: str, path: Path) -> dict[str, float]:
    """Seconds, without imports, and peak memory of one row in this process."""
    start, cpu = time.perf_counter(), time.process_time()
    items = ROWS[row](path)
    return {
        "items": items,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def in_a_process(row: str, path: Path) -> dict[str, float]:
    """`measure` in a fresh process with one thread."""
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "RAYON", "BLOSC", "NUMEXPR")}
    command = [sys.executable, "-m", "benchmarks.ingest", str(path), "--row", row]
    done = subprocess.run(command, env={**os.environ, **one_thread}, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row is not None:
        print(json.dumps(measure(arguments.row, arguments.file)))
        return
    # Not above: it brings torch, whose memory is none of ingest's.
    from benchmarks.report import machine, publish

    rows = [row for row in ROWS if row != "skdh" or find_spec("skdh")]
    seconds, memory = {}, {}
    for row in rows:
        results = [in_a_process(row, arguments.file) for _ in range(arguments.repeats)]
        seconds[LABELS[row]] = statistics.median(result["seconds"] for result in results)
        seconds[f"{LABELS[row]}, of the processor"] = statistics.median(result["cpu_seconds"] for result in results)
        memory[LABELS[row]] = 1000 * max(result["peak_gb"] for result in results)
    publish("ingest", "seconds for the file", seconds, machine("scipy", "zarr", "cwa-reader-rs"))
    publish("ingest-memory", "peak MB", memory, machine("scipy", "zarr", "cwa-reader-rs"))


if __name__ == "__main__":
    main()
