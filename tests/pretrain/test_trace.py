"""Tools for operators: a trace of some steps, and a garbage collector that delays no process."""

import gc
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from harnet.errors import HarnetError
from pretrain.data.loading import LocalBatch
from pretrain.parallel.distributed import Process
from pretrain.run import garbage
from pretrain.run.loop import Run
from pretrain.run.step import Gradient
from pretrain.run.trace import Trace, TraceConfig
from tests.pretrain.runs import alone, losses, small


def test_the_steps_that_are_named_are_in_a_trace_that_perfetto_reads(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(shards, tmp_path / "run", steps=4)
    alone(replace(config, trace=TraceConfig(first=2, last=3)))
    (path,) = (tmp_path / "run" / "traces").iterdir()
    assert path.name == "steps-2-3-process-0.json.gz"
    assert f"trace of steps 2 to 3: {path}" in capsys.readouterr().out
    names = [event.get("name", "") for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]]
    assert sum(name.startswith("Optimizer.step") for name in names) == 2
    assert any("convolution_backward" in name for name in names)
    alone(replace(config, run=replace(config.run, out=tmp_path / "other")))
    assert losses(tmp_path / "run") == losses(tmp_path / "other")
    assert not (tmp_path / "other" / "traces").exists()


def test_a_trace_that_the_end_cuts_short_is_written(shards: Path, tmp_path: Path) -> None:
    alone(replace(small(shards, tmp_path / "run", steps=3), trace=TraceConfig(first=3, last=9)))
    assert [path.name for path in (tmp_path / "run" / "traces").iterdir()] == ["steps-3-3-process-0.json.gz"]
    with pytest.raises(HarnetError, match=r"trace.last is 2; it must be at least trace.first = 3"):
        TraceConfig(first=3, last=2)


@pytest.mark.parametrize(("rank", "files"), [(0, []), (1, ["steps-2-2-process-1.json.gz"])])
def test_one_rank_is_traced(tmp_path: Path, rank: int, files: list[str]) -> None:
    trace = Trace(TraceConfig(first=2, last=2, rank=1), Process(rank, 2, torch.device("cpu")), tmp_path)
    for step in (1, 2, 3, 4):
        trace.before(step)
    trace.close(4)
    assert [path.name for path in tmp_path.rglob("*.gz")] == files
    with pytest.raises(HarnetError, match=r"trace.rank is -1"):
        TraceConfig(rank=-1)


def test_garbage_is_collected_at_fixed_steps_only(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on, collected, steps = [], [], []
    gradient = Run.gradient

    def watched(self: Run, part: LocalBatch) -> Gradient:
        on.append(gc.isenabled())
        steps.append(self.state.step + 1)
        return gradient(self, part)

    def noted(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 1:
            collected.append(steps[-1])

    monkeypatch.setattr(Run, "gradient", watched)
    monkeypatch.setattr(garbage, "EVERY", 2)
    gc.callbacks.append(noted)
    try:
        alone(small(shards, tmp_path / "run", steps=5))
    finally:
        gc.callbacks.remove(noted)
    assert on == [False] * 5
    assert [step for step in collected if step < 5] == [2, 4]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
