"""Shared by all benchmarks: medians of repeats, description of the machine, tables, result files."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pretrain.run.provenance import git_revision

RESULTS = Path(__file__).parent / "results"


def rate(work: Callable[[], int], repeats: int) -> float:
    """Median over `repeats` of items per second; `work` runs once and returns the number of items processed."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        items = work()
        rates.append(items / (time.perf_counter() - start))
    return statistics.median(rates)


def machine(*packages: str) -> dict[str, Any]:
    """Hardware, versions and git revision of a measurement."""
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "numpy", *packages)}
        | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
        "revision": git_revision(),
    }


def publish(name: str, unit: str, rows: dict[str, float], about: dict[str, Any]) -> None:
    """Print the table and write `results/<name>.json`."""
    best = max(rows.values())
    width = max(map(len, rows))
    print(f"\n{name} ({unit}, medians)")
    for label, value in rows.items():
        print(f"  {label:<{width}}  {value:>14,.0f}  {value / best:6.1%}")
    print("  on " + json.dumps(about))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"unit": unit, "rows": rows, "on": about}, indent=2) + "\n")
    print(f"  saved to {path}")
