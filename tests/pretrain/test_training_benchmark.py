"""The training benchmark on a small network: figures for a GPU are worthless if the program fails there."""

import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from benchmarks import train
from benchmarks.profile_encoder import stages
from harnet.encoder import Encoder
from pretrain.model import ModelConfig


@pytest.fixture
def bench(shards: Path, tmp_path: Path) -> train.Benchmark:
    arguments = Namespace(shards=shards, batch=16, architecture="harnet5", minutes=5.0, only=["fed", "bounds"])
    made = train.Benchmark(arguments, shards, tmp_path)
    made.model, made.slice = ModelConfig("harnet5", width=8), 0.01
    return made


def test_parts_do_not_overwrite_the_results_of_the_whole(
    bench: train.Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "RESULTS", tmp_path)
    assert bench.save().name.endswith("-fed-bounds.json")
    assert len(list(tmp_path.glob("train-*.json"))) == 1


def test_every_stage_is_timed_against_its_floor() -> None:
    rows = stages(Encoder("harnet5", width=8), 4, True, 1e12, torch.device("cpu"))
    assert [row["stage"] for row in rows] == [*(f"layer{number}" for number in range(1, 6)), "all"]
    assert all(row["forward_ms"] > 0 and row["times_floor"] > 0 for row in rows[:-1])


def test_the_bounds_come_with_the_operations_that_take_longest(bench: train.Benchmark) -> None:
    found = train.bounds(bench)
    assert found["stages"][0]["times_floor"] > 0
    assert sum(row["share"] for row in found["operations"]) > 0.5


def test_speed_from_shards_and_in_memory_and_of_the_transforms(bench: train.Benchmark) -> None:
    assert {"from shards", "in memory", "ratio"} <= train.fed_or_in_memory(bench).keys()
    assert 0 < train.transforms_alone(bench)["share"] < 1


def test_an_epoch_of_synthetic_shards_is_long_enough_for_any_number_of_processes(bench: train.Benchmark) -> None:
    bench.synthetic = True
    for batch in (16, 4096, 8 * 4096):
        assert train.TRAINING_DAYS * bench.draws_per_day(batch) >= train.LEAST_STEPS * batch


def test_the_published_loop_reads_more_batches_than_its_file_holds() -> None:
    # In a process of its own: torch's loader complains if it is dropped while its processes are busy.
    command = [sys.executable, "-m", "benchmarks.published_algorithm", "--batch", "2", "--seconds", "0.3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    speeds = dict(re.findall(r"^  (.+?) +([0-9,]+) windows/s$", done.stdout, re.MULTILINE))
    assert any(name.startswith("from a file") for name in speeds)
    assert all(int(speed.replace(",", "")) > 0 for speed in speeds.values())
