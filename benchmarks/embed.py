"""Claim: on a CPU, embedding runs at 95 % of the speed of the network alone, and takes a week in 500 MB.

Makes a synthetic store of people with `--days` of wear, and embeds it with a harnet10 of random weights, which cost
what trained ones do. Each row runs in a process of its own: `harnet embed` from the store to the tables, its start
included, and the network alone on batches that lie in memory, with as many threads: a batch a thread, as `embed` does
it, and all threads in each operation, as torch does it by itself. With `--step` above ten seconds only a share of the
windows is taken, and the rate is that of so many. Rows take turns, `--repeats` times; medians are given, by the clock
on the wall and by processor time.

    python -m benchmarks.embed --days 1 --people 2 --repeats 3 --batch 64     # the rates
    python -m benchmarks.embed --days 7 --step 60    # the memory
    python -m benchmarks.embed --device cuda --batch 4096 --people 8 --precision bf16
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

SECONDS_PER_DAY = 86400
MOST_BATCHES = 64
"""Batches for the network alone, whose rate is the same for every batch."""


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

    out = folder / f"out-{options.precision}"
    shutil.rmtree(out, ignore_errors=True)
    command = ["embed", str(folder / "cohort.zarr"), "--weights", str(folder / "weights"), "--out", str(out)]
    command += ["--device", options.device, "--batch", str(options.batch), "--step", str(options.step)]
    command += ["--workers", str(options.workers), "--threads", str(options.threads), "--store", options.store]
    assert harnet([*command, "--precision", options.precision]) == 0
    summaries = [RecordingSummary.load(path) for path in (out / "summaries").glob("*.npz")]
    # Each window stands for `step` seconds in the summaries, and for ten seconds of the network's work.
    return float(np.sum([found.wear.sum() for found in summaries])) / options.step * 10 / SECONDS_PER_DAY


def network_alone(folder: Path, options: argparse.Namespace, together: bool) -> float:
    """The encoder on prepared batches, all threads in each operation or a batch a thread; returns the person-days."""
    import torch

    import harnet

    torch.set_num_threads(options.threads if together else 1)
    encoder = harnet.load_encoder(folder / "weights", options.device)
    prepared = torch.randn(8, options.batch, 3, 300, device=options.device)
    windows = options.people * options.days * SECONDS_PER_DAY // options.step
    batches = min(MOST_BATCHES, max(8, windows // options.batch))

    def work(number: int) -> None:
        half = torch.autocast(options.device.split(":")[0], torch.bfloat16, enabled=options.precision == "bf16")
        with torch.inference_mode(), half:
            encoder(prepared[number % len(prepared)]).float().cpu()

    with ThreadPoolExecutor(1 if together else options.threads) as pool:
        list(pool.map(work, range(batches)))
    return batches * options.batch * 10 / SECONDS_PER_DAY


ROWS = {
    "harnet embed": whole_command,
    "the network alone, a batch a thread": partial(network_alone, together=False),
    "the network alone, all threads in a batch": partial(network_alone, together=True),
}


def measure(row: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Person-days, seconds on the wall and of the processor, and peak memory of one row in this process."""
    # Not part of either row: what both import.
    import launch.apply_command  # noqa: F401

    start, used = time.perf_counter(), time.process_time()
    days = ROWS[row](folder, options)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    return {"person_days": days, "seconds": seconds, "processor_seconds": processor, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Of this process alone; unlike `getrusage`, it does not begin at the peak of the process that started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--step", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--store", default="float32")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        (options.precision,) = options.precision
        print(json.dumps(measure(options.row, options.folder, options)))
        return
    from benchmarks.report import machine, publish

    rates, memory = defaultdict(list), defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.people, options.days)
        for precision, _, row in product(options.precision, range(options.repeats), ROWS):
            command = [sys.executable, "-m", "benchmarks.embed", *sys.argv[1:], "--row", row, "--folder", folder]
            done = subprocess.run([*command, "--precision", precision], stdout=subprocess.PIPE, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            for clock, seconds in (("wall", "seconds"), ("processor", "processor_seconds")):
                rates[f"{row}, {precision}, {clock}"].append(result["person_days"] / result[seconds] * 3600)
            memory[f"{row}, {precision}"] = max(memory[f"{row}, {precision}"], result["peak_mb"])
    about = machine("zarr") | {name: getattr(options, name) for name in ("people", "days", "step", "batch", "device",
                                                                        "workers", "store", "repeats")}  # fmt: skip
    about |= {"threads": options.threads, "load_average": os.getloadavg()[1]}
    unit = "person-days an hour, windows of ten seconds end to end"
    if options.step == 10:
        publish("embed", unit, {row: statistics.median(found) for row, found in rates.items()}, about)
    else:
        publish("embed-memory", "peak MB", memory, about)


if __name__ == "__main__":
    main()
