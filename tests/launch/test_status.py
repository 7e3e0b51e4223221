"""The state of a run, as far as no Slurm is needed; tests/cluster uses a real one."""

import json
from pathlib import Path

import pytest

from harnet import run_folder
from launch import records, watch
from launch.cli import main
from launch.slurm import Job
from pretrain.command import Command
from tests.pretrain.runs import alone, small


def test_a_run_without_slurm_is_described_from_its_folder(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    final = alone(small(shards, run, steps=4))
    capsys.readouterr()
    assert main(["status", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: finished, step 4 of 4\nlast checkpoint: step 4\n"

    (final / run_folder.MARKER).unlink()
    assert main(["status", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["step"], found["steps"], found["checkpoint"]) == ("manual", 4, 4, 2)
    assert main(["status", str(tmp_path)]) == 1
    assert "contains no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("facts", "state", "detail"),
    [
        ({"JobState": "PENDING", "Reason": "Resources"}, "queued", "waiting for free nodes (Resources)"),
        ({"JobState": "PENDING", "Reason": "BeginTime", "Restarts": "1"}, "requeued", "waiting for Slurm's delay"),
        ({"JobState": "REQUEUED", "Reason": "None"}, "requeued", "waiting for the scheduler"),
        ({"JobState": "RUNNING"}, "running", "starting"),
        ({"JobState": "COMPLETING"}, "ending", "Slurm is cleaning up"),
        ({"JobState": "CANCELLED"}, "cancelled", "the same submit command resumes it"),
        ({"JobState": "TIMEOUT", "ExitCode": "0:1"}, "failed", "TIMEOUT, code 0: without a log: do the nodes see"),
        ({"JobState": "FAILED", "ExitCode": "78:0", "Comment": "disk full"}, "failed", "FAILED, code 78: disk full"),
        ({"JobState": "OUT_OF_MEMORY", "ExitCode": "0:125"}, "failed", "OUT_OF_MEMORY"),
        (None, "gone", "Slurm no longer knows job 7"),
    ],
)
def test_what_slurm_says_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str] | None, state: str, detail: str
) -> None:
    config = Command.parse("x", ["--data.shards", "s", "--run.out", str(tmp_path)]).options.as_dict()
    records.append(tmp_path, run_folder.SUBMISSIONS, {"job": "7", "config": config})
    monkeypatch.setattr(watch.slurm, "job", lambda number: None if facts is None else Job(facts))
    found = watch.status(tmp_path)
    assert (found.state, found.job, found.step, found.steps) == (state, "7", 0, 10_000)
    assert found.detail.startswith(detail)
    assert found.over == (state in ("cancelled", "failed", "gone"))


def test_speed_and_time_to_go_are_those_of_the_running_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Command.parse("x", ["--data.shards", "s", "--run.out", str(tmp_path), "--run.steps", "140"]).options
    records.append(tmp_path, run_folder.SUBMISSIONS, {"job": "7", "config": config.as_dict()})
    row = {"kind": "train", "step": 40, "loss": 0.5, "windows_per_second": 512.0}
    (tmp_path / run_folder.LOG).write_text(json.dumps(row) + "\n" + '{"kind": "train", "st')
    monkeypatch.setattr(watch.slurm, "job", lambda number: Job({"JobState": "RUNNING", "Restarts": "1"}))
    found = watch.status(tmp_path)
    assert found.as_text() == (
        f"{tmp_path}: running (job 7, restart 1), step 40 of 140, 512 windows/s, 1 min to go\nno checkpoint yet"
    )
    assert found.eta_seconds == 100.0

    records.append(tmp_path, run_folder.STARTS, {"event": "start", "job": "7"})
    found = watch.status(tmp_path)
    assert (found.detail, found.windows_per_second, found.eta_seconds) == ("starting", None, None)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (36_600, "10 h 10 min"), (183_600, "2 d 3 h")]
)
def test_a_duration_is_short(seconds: float, words: str) -> None:
    assert watch.duration(seconds) == words
