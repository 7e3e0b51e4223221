"""Training speed and its bottlenecks, on the CPU or on a GPU.

    python -m benchmarks.train                          synthetic shards, about 8 minutes
    python -m benchmarks.train --shards shards          your own
    python -m benchmarks.train --only fed variants      parts of it: fed published variants bounds transforms processes

Prints tables and writes benchmarks/results/train-DEVICE.json, or train-DEVICE-PARTS.json with --only. Parts that do not
fit into --minutes are reported as not measured.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
import torch._inductor.config

from benchmarks import layouts, published_algorithm
from benchmarks.profile_encoder import operations, seconds, stages, wait
from benchmarks.report import RESULTS, machine
from data_shards.quality.policy import POLICIES
from data_shards.shards import writer
from data_shards.shards.shard_plan import ShardOptions
from data_shards.synthetic.make import synthesise
from data_shards.synthetic.synth_options import SynthOptions
from harnet.run_folder import read_log
from pretrain.config import DataConfig, PretrainConfig, RunConfig
from pretrain.data.loading import LocalBatch, local_batches
from pretrain.model import ModelConfig
from pretrain.optim.optimizers import OptimizerConfig
from pretrain.parallel.distributed import Process
from pretrain.run import flops
from pretrain.run.build import build_run
from pretrain.run.loop import Run
from pretrain.run.step import BatchStep

LEAST_STEPS = 50
"""Minimum number of steps per epoch of synthetic shards."""
PEOPLE, TRAINING_DAYS = 8, 6
"""Number of people in those shards, one day each, and the minimum number of them in the training split."""
OUT_OF_TIME = "not measured: out of time"


class Benchmark:
    """Settings shared by all parts, and the time limit."""

    def __init__(self, arguments: argparse.Namespace, shards: Path, scratch: Path) -> None:
        self.shards, self.scratch = shards, scratch
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", 0) if self.cuda else torch.device("cpu")
        self.process = Process(0, 1, self.device)
        self.batch = arguments.batch or (4096 if self.cuda else 64)
        self.precision = "bf16" if self.cuda else "fp32"
        self.model = ModelConfig(arguments.architecture)
        self.synthetic = not arguments.shards
        self.parts = [] if arguments.only == list(SECTIONS) else list(arguments.only)
        self.slice = 3.0 if self.cuda else 6.0
        self.end = time.monotonic() + 60 * arguments.minutes
        self.results: dict[str, dict[str, Any]] = {}
        self.about = machine() | {"shards": arguments.shards.name if arguments.shards else "synthetic"}

    @property
    def late(self) -> bool:
        """Whether the time limit has passed."""
        return time.monotonic() > self.end

    def save(self) -> Path:
        """Write the results so far: an interrupted run loses only the part in progress."""
        name = torch.cuda.get_device_name(0).replace(" ", "-").lower() if self.cuda else "cpu"
        path = RESULTS / f"{'-'.join(['train', name, *self.parts])}.json"
        RESULTS.mkdir(exist_ok=True)
        settings = {"architecture": self.model.architecture, "batch": self.batch, "precision": self.precision}
        path.write_text(json.dumps({"settings": settings, "results": self.results, "on": self.about}, indent=2) + "\n")
        return path

    def draws_per_day(self, batch: int) -> int:
        """Windows per person-day: an epoch of so little data must still have `LEAST_STEPS` steps of `batch` windows."""
        least = -(-LEAST_STEPS * batch // TRAINING_DAYS) if self.synthetic else 0
        return max(DataConfig.draws_per_day, least)

    def config(self, fused: bool = True, batch: int = 0, workers: int = 0, **run: Any) -> PretrainConfig:
        """Configuration of a run longer than any benchmark."""
        batch = batch or self.batch
        settings = {"steps": 10_000, "device": self.device.type, "precision": self.precision, "compile": "off"} | run
        return PretrainConfig(
            data=DataConfig(
                str(self.shards),
                batch=batch,
                lanes=min(16, batch),
                workers=workers,
                heldout_windows=0,
                draws_per_day=self.draws_per_day(batch),
            ),
            run=RunConfig(self.scratch / "run", **settings),
            model=self.model,
            optimizer=OptimizerConfig(fused=fused),
        )

    def rate(self, run: Run, batches: Iterator[LocalBatch], budget: float) -> float:
        """Windows/s of whole steps, measured for about `budget` seconds."""
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < budget or steps < 2:
            run.step(batches, stop_requested=False)
            steps += 1
        wait(self.device)
        return steps * run.config.data.batch / (time.perf_counter() - start)


def fed_or_in_memory(bench: Benchmark) -> dict[str, Any]:
    """The loop on batches from shards versus the same loop on one batch in memory, alternating."""
    # All cores but one run loaders, as far as the lanes can be divided.
    cores = len(os.sched_getaffinity(0))
    workers = max(number for number in (0, 1, 2, 4, 8) if number < cores or number == 0)
    config = bench.config(workers=workers, compile="auto")
    run = build_run(config, bench.process)
    fed = local_batches(run.manifest, "train", config.order(), bench.process, workers)
    kept = repeat(next(fed))
    for batches in (fed, kept):
        bench.rate(run, batches, bench.slice)
    pairs = [(bench.rate(run, fed, bench.slice), bench.rate(run, kept, bench.slice)) for _ in range(5)]
    shards, memory = (statistics.median(values) for values in zip(*pairs, strict=True))
    return {
        "from shards": shards,
        "in memory": memory,
        "ratio": statistics.median(one / other for one, other in pairs),
        "loader processes": workers,
    }


def variants(bench: Benchmark) -> dict[str, Any]:
    """Windows/s in memory: what runs out of the box, each of its parts left out, then other settings.

    In the order of what they tell, since time may run out. On the CPU nothing is compiled out of the box, and compiling
    takes minutes, so that comes last there.
    """
    half, other = max(bench.batch // 2, 16), "fp32" if bench.precision == "bf16" else "bf16"
    shipped, first = layouts.SHIPPED, layouts.CHANNELS_FIRST
    compiled: list[tuple[str, str, dict[str, Any]]] = [
        ("compiled", shipped, {"compile": "default"}),
        ("compiled, transforms as written", shipped, {"compile": "default", "transforms": "as written"}),
        ("compiled, channels first", first, {"compile": "default"}),
        # Of activations that are padded for the next convolution, one copy less (its code was read on the CPU).
        ("compiled, more fused", shipped, {"compile": "default", "inductor": {"realize_reads_threshold": 8}}),
        ("compiled, max-autotune-no-cudagraphs", shipped, {"compile": "max-autotune-no-cudagraphs"}),
        ("compiled, reduce-overhead (CUDA graphs)", shipped, {"compile": "reduce-overhead"}),
    ]
    plain: list[tuple[str, str, dict[str, Any]]] = [
        ("not compiled", shipped, {}),
        ("not compiled, channels first", first, {}),
    ]
    others: list[tuple[str, str, dict[str, Any]]] = [
        (f"batch {half}", shipped, {"batch": half}),
        (f"batch {2 * bench.batch}", shipped, {"batch": 2 * bench.batch}),
        (f"{other}", shipped, {"precision": other}),
        ("optimiser not fused", shipped, {"fused": False}),
        *((layout, layout, {}) for layout in layouts.LAYOUTS if layout not in (shipped, first)),
    ]
    if bench.cuda:
        # Other settings and layouts, too, as they would be used: compiled.
        others = [(name, layout, options | {"compile": "default"}) for name, layout, options in others]
    table = [*compiled, *plain, *others] if bench.cuda else [*plain, *others, *compiled]
    rows = bench.results["windows/s of variants, in memory"] = {}
    for name, layout, options in table:
        rows[name] = OUT_OF_TIME if bench.late else _variant(bench, layout, options)
        print(f"  {name:<60} {_shown(rows[name])}", flush=True)
        bench.save()
    return rows


def _variant(bench: Benchmark, layout: str, options: dict[str, Any]) -> Any:
    torch._dynamo.reset()
    gc.collect()
    mode, transforms = options.pop("compile", "off"), options.pop("transforms", "")
    compiler = options.pop("inductor", {})
    config = bench.config(**options)
    run = build_run(config, bench.process)
    layouts.LAYOUTS[layout](run.state.network)
    if mode != "off":
        # After the layout was changed, unlike in `build_run`.
        with torch._inductor.config.patch(compiler):
            said = replace_compile(run, config, mode)
        if said.startswith("not compiled"):
            return said
    if transforms == "as written":
        run.batch_step._prepare = run.objective.prepare
    part = next(local_batches(run.manifest, "train", config.order(), bench.process, 0))
    try:
        bench.rate(run, repeat(part), bench.slice / 2)
        return statistics.median(bench.rate(run, repeat(part), bench.slice / 2) for _ in range(3))
    except torch.OutOfMemoryError:
        return "not measured: out of memory"


def replace_compile(run: Run, config: PretrainConfig, mode: str) -> str:
    """Compile the network of a run as the configuration would; return the line about it."""
    compiled = replace(config, run=replace(config.run, compile=mode))
    run.batch_step = BatchStep(compiled, run.process, run.objective, run.state.network)
    return run.batch_step.compile()[0]


def transforms_alone(bench: Benchmark) -> dict[str, Any]:
    """Seconds of the transforms, and their share of a whole step."""
    run = build_run(bench.config(compile="auto"), bench.process)
    part = next(local_batches(run.manifest, "train", run.config.order(), bench.process, 0))
    counts, keys = part.windows.to(bench.device), part.positions.to(bench.device)
    written = seconds(lambda: run.objective.prepare(counts, keys), bench.device)
    alone = seconds(lambda: run.batch_step._prepare(counts, keys), bench.device)
    step = seconds(lambda: run.step(repeat(part), stop_requested=False), bench.device, 3.0)
    return {
        "as written, ms": 1e3 * written,
        "as they run, ms": 1e3 * alone,
        "step, ms": 1e3 * step,
        "share": alone / step,
        "said": "; ".join(run.notes),
    }


def bounds(bench: Benchmark) -> dict[str, Any]:
    """The bound of each stage, and the operations that take the most time."""
    run = build_run(bench.config(), bench.process)
    part = next(local_batches(run.manifest, "train", run.config.order(), bench.process, 0))
    peak, source = flops.peak(bench.device, bench.precision)
    encoder = run.state.network.get_submodule("feature_extractor")
    return {
        "peak_flops": peak,
        "peak_from": source,
        "stages": stages(encoder, bench.batch, bench.precision == "bf16", peak, bench.device, compiled=bench.cuda),
        "operations": operations(lambda: run.step(repeat(part), stop_requested=False), bench.device),
    }


def processes(bench: Benchmark) -> dict[str, Any]:
    """Windows/s of real runs under torchrun, with the batch growing with the world size."""
    most = torch.cuda.device_count() if bench.cuda else 2
    rows: dict[str, Any] = {}
    for world in sorted({1, 2, most} & set(range(1, most + 1))):
        name = f"{world} process{'es' * (world > 1)} of {'one GPU' if bench.cuda else 'one thread'}"
        rows[name] = OUT_OF_TIME if bench.late else _under_torchrun(bench, world)
    return rows


def _under_torchrun(bench: Benchmark, world: int) -> Any:
    out, steps = bench.scratch / f"processes-{world}", 120 if bench.cuda else 30
    batch = bench.batch * world
    options = {
        "data.shards": bench.shards, "data.batch": batch, "data.lanes": 16 * world, "data.workers": 0,
        "data.heldout-windows": 0, "data.draws-per-day": bench.draws_per_day(batch),
        "model.architecture": bench.model.architecture, "run.out": out, "run.steps": steps,
        "run.precision": bench.precision, "run.device": bench.device.type, "run.log-every": steps // 6,
        "run.checkpoint-every": 10_000, "optimizer.warmup-steps": 1,
    }  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    command += ["-m", "pretrain", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        return f"failed: {(done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]}"
    return statistics.median([row["windows_per_second"] for row in read_log(out) if row["kind"] == "train"][1:])


def _shown(value: Any) -> str:
    return f"{value:>14,.3f}" if isinstance(value, float) else f"{value!s:>14}"


def _print(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}")
    for name, value in found.items():
        if isinstance(value, list):
            print(f"  {name}:")
            for row in value:
                print("    " + "  ".join(f"{key} {_shown(one).strip()}" for key, one in row.items()))
        else:
            print(f"  {name:<60} {_shown(value)}")


def synthetic_shards(folder: Path) -> Path:
    """Shards of synthetic people, one day each: a benchmark of training needs no recordings."""
    cohort = synthesise(folder / "cohort.zarr", people=PEOPLE, options=SynthOptions(days=1))
    writer.write_shards(cohort, folder / "shards", ShardOptions(quality=POLICIES["none"]))
    return folder / "shards"


def published(bench: Benchmark) -> dict[str, Any]:
    """Windows/s of a loop as the published recipe describes it, on the same device."""
    batch = published_algorithm.BATCH if bench.cuda else bench.batch
    return dict(published_algorithm.measure(bench.device, batch, bench.slice, bench.scratch))


SECTIONS: dict[str, tuple[str, Callable[[Benchmark], dict[str, Any]]]] = {
    "fed": ("windows/s out of the box, whole steps", fed_or_in_memory),
    "published": ("windows/s of the published recipe", published),
    "variants": ("windows/s of variants, in memory", variants),
    "bounds": ("what bounds it", bounds),
    "transforms": ("the transforms", transforms_alone),
    "processes": ("windows/s by number of processes", processes),
}
"""Name for --only -> title and function, in order of importance."""


def main() -> None:
    """Measure, print and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--architecture", default="harnet10")
    parser.add_argument("--batch", type=int, default=0, help="batch size; 4096 on a GPU, 64 on the CPU")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="parts, in this order")
    parser.add_argument("--minutes", type=float, default=6.0, help="time limit, after which no new part starts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards = arguments.shards or synthetic_shards(Path(folder))
        bench = Benchmark(arguments, shards, Path(folder))
        for name in arguments.only:
            title, measure = SECTIONS[name]
            bench.results[title] = {"all": OUT_OF_TIME} if bench.late else measure(bench)
            _print(title, bench.results[title])
            path = bench.save()
    print(f"\non {json.dumps(bench.about)}\nsaved to {path}")


if __name__ == "__main__":
    main()
