"""Claim: a week of one person is embedded in 500 MB, at the rate that the network itself allows.

Makes a synthetic store of people with `--days` of wear, and embeds it with a harnet10 of random weights, which cost
what trained ones do. Each row runs in a process of its own: the whole command, and the network alone on windows that
lie in memory. With `--step` above ten seconds, only a share of the windows is taken, and the rate is that of so many.

    python -m benchmarks.embed --days 7 --step 60
    python -m benchmarks.embed --device cuda --batch 4096 --people 8
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS_PER_DAY = 86400


def make(folder: Path, people: int, days: int) -> tuple[Path, Path]:
    """A store and weights."""
    from harnet.heads import PretextModel
    from harnet.weights.bundle import BundleConfig, save
    from launch.cli import main as harnet

    cohort, weights = folder / "cohort.zarr", folder / "weights"
    command = ["synth", "--out", str(cohort), "--people", str(people), "--days", str(days)]
    assert harnet(command) == 0
    config = BundleConfig("harnet10", 10, "standardised window")
    save(weights, PretextModel("harnet10", standardise=True).state_dict(), config)
    return cohort, weights


def whole_command(folder: Path, options: argparse.Namespace) -> float:
    """`harnet embed`; returns the person-days of windows embedded."""
    import numpy as np

    from harnet.apply.summaries import RecordingSummary
    from launch.cli import main as harnet

    command = ["embed", str(folder / "cohort.zarr"), "--weights", str(folder / "weights"), "--out", str(folder / "out")]
    command += ["--device", options.device, "--batch", str(options.batch), "--step", str(options.step)]
    command += ["--workers", str(options.workers), "--threads", str(options.threads), "--store", options.store]
    assert harnet(command) == 0
    summaries = [RecordingSummary.load(path) for path in (folder / "out" / "summaries").glob("*.npz")]
    # Each window stands for `step` seconds in the summaries, and for ten seconds of the network's work.
    return float(np.sum([found.wear.sum() for found in summaries])) / options.step * 10 / SECONDS_PER_DAY


def network_alone(folder: Path, options: argparse.Namespace) -> float:
    """The encoder on one batch again and again; returns the person-days of windows embedded."""
    import torch

    import harnet

    torch.set_num_threads(options.threads)
    encoder = harnet.load_encoder(folder / "weights", options.device)
    windows = torch.randn(options.batch, 3, 300, device=options.device)
    batches = max(3, 2048 // options.batch)
    with torch.inference_mode():
        for _ in range(batches):
            encoder(windows).cpu()
    return batches * options.batch * 10 / SECONDS_PER_DAY


ROWS = {"harnet embed": whole_command, "the network alone": network_alone}


def measure(row: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Person-days, seconds and peak memory of one row in this process, imports included."""
    start = time.perf_counter()
    days = ROWS[row](folder, options)
    seconds = time.perf_counter() - start
    return {"person_days": days, "seconds": seconds, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Of this process alone; unlike `getrusage`, it does not begin at the peak of the process that started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--step", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--store", default="float32")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        print(json.dumps(measure(options.row, options.folder, options)))
        return
    from benchmarks.report import machine, publish

    rates, memory = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.people, options.days)
        for row in ROWS:
            command = [sys.executable, "-m", "benchmarks.embed", *sys.argv[1:], "--row", row, "--folder", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            rates[row] = result["person_days"] / result["seconds"] * 3600
            memory[row] = result["peak_mb"]
    about = machine("zarr") | {name: getattr(options, name) for name in ("people", "days", "step", "batch", "device",
                                                                        "workers", "store")}  # fmt: skip
    about["threads"] = options.threads
    publish("embed", "person-days an hour, windows of ten seconds end to end", rates, about)
    publish("embed-memory", "peak MB", memory, about)


if __name__ == "__main__":
    main()
