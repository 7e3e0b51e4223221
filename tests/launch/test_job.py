"""The batch process, with stand-ins for Slurm's commands; tests/cluster runs it under a real Slurm."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harnet.errors import HarnetError, Unreachable
from harnet.run_folder import LOCK, STARTS
from launch import job, records, task
from launch.records import Reason, entries
from pretrain.run.lock import Holder
from tests.launch.stand_ins import stand_in

HERE = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_JOB_NUM_NODES": "1", "SLURMD_NODENAME": "n1",
    "SLURM_RESTART_COUNT": "0",
}  # fmt: skip


@pytest.fixture
def commands(commands: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The environment inside a job; `scontrol` writes its arguments to the folder of stand-ins."""
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)
    stand_in(commands, "scontrol", f'echo "$@" >> {commands}/asked; echo "JobId=7 JobState=RUNNING Restarts=0"')
    terminate = signal.getsignal(signal.SIGTERM)
    yield commands
    signal.signal(signal.SIGTERM, terminate)


def asked(folder: Path) -> str:
    path = folder / "asked"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("code", "said", "returned", "asks"),
    [
        (0, "", 0, ""),
        (130, "", 0, "requeue 7"),
        (137, "srun: error: n1: task 0: Killed", 0, "requeue 7"),
        (78, "0: pretrain: run: No space left on device", 78, "Comment=run: No space left on device"),
    ],
)
def test_what_follows_an_end(commands: Path, tmp_path: Path, code: int, said: str, returned: int, asks: str) -> None:
    stand_in(commands, "srun", f'echo "{said}"; exit {code}')
    assert job.run([str(tmp_path / "run"), "--processes-per-node", "1", "--", "--data.batch", "8"]) == returned
    assert asks in asked(commands)
    assert ("requeue" in asked(commands)) == ("requeue" in asks)
    start, end = entries(tmp_path / "run", STARTS)
    assert (start["event"], end["event"], end["code"]) == ("start", "end", code)


@pytest.mark.parametrize(
    "state", ["JobState=CANCELLED Restarts=0", "JobState=PENDING Restarts=1", "JobState=RUNNING Restarts=1"]
)
def test_a_job_that_slurm_has_ended_or_started_elsewhere_is_left_alone(
    commands: Path, tmp_path: Path, state: str
) -> None:
    stand_in(commands, "scontrol", f'echo "$@" >> {commands}/asked; echo "JobId=7 {state}"')
    stand_in(commands, "srun", "exit 130")
    assert job.run([str(tmp_path / "run"), "--processes-per-node", "1"]) == 130
    assert "requeue" not in asked(commands)


def test_too_many_restarts_end_it(commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "4")
    stand_in(commands, "srun", "touch started; exit 0")
    given = [str(tmp_path / "run"), "--processes-per-node", "1", "--max-restarts", "3"]
    assert job.run(given) == task.NON_RETRYABLE
    assert "Comment=already restarted 4 times" in asked(commands)
    assert not (tmp_path / "started").exists()


def test_a_controller_that_restarts_is_asked_again(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = f"""[ -e {commands}/up ] && echo yes && exit
        touch {commands}/up; echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"""
    stand_in(commands, "scontrol", silent)
    pauses: list[float] = []
    monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    assert job.run_with_retries("scontrol", "show", "job", "7") == "yes\n"
    assert len(pauses) == 1
    stand_in(commands, "scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    with pytest.raises(HarnetError, match="Invalid job id"):
        job.run_with_retries("scontrol", "show", "job", "7")
    assert len(pauses) == 1


def test_outside_a_job_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="this must be started by a batch script"):
        job.run([str(tmp_path), "--processes-per-node", "1"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data.shards", "s", "--run.out", "r", "--data.batch", "many"], "--data.batch"),
        (["--data.shards", "nowhere", "--run.out", "r"], "no manifest"),
    ],
)
def test_a_task_with_a_mistake_says_so_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (HERE | {"SLURM_PROCID": "3", "SLURM_RESTART_COUNT": "2"}).items():
        monkeypatch.setenv(name, value)
    assert task.train_as_task(tmp_path, arguments) == task.NON_RETRYABLE
    assert says in capsys.readouterr().err
    (left,) = records.reasons(tmp_path, "7-2")
    assert (left.rank, left.code) == (3, task.NON_RETRYABLE)
    assert left.text


def test_a_task_that_crashes_leaves_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (HERE | {"SLURM_PROCID": "1"}).items():
        monkeypatch.setenv(name, value)

    def lost(folder: Path, arguments: Sequence[str]) -> int:
        raise RuntimeError("Connection closed by peer\nand more")

    monkeypatch.setattr(task, "_run", lost)
    with pytest.raises(RuntimeError):
        task.train_as_task(tmp_path, [])
    (left,) = records.reasons(tmp_path, "7-0")
    assert (left.rank, left.code, left.text) == (1, task.CRASHED, "RuntimeError: Connection closed by peer")


def test_the_mistake_of_one_process_is_what_counts_when_others_were_killed(commands: Path, tmp_path: Path) -> None:
    """srun returns the largest code, 137, from a process that waited for the faulty one until srun killed it."""
    run = tmp_path / "run"
    records.write_reason(run, "7-0", Reason(0, task.CRASHED, "RuntimeError: Connection closed by peer", 1.0))
    records.write_reason(run, "7-0", Reason(1, task.NON_RETRYABLE, "shards: 12 of 100 block reads found damage", 2.0))
    stand_in(commands, "srun", 'echo "srun: error: n1: task 2: Killed"; exit 137')
    assert job.run([str(run), "--processes-per-node", "3"]) == task.NON_RETRYABLE
    assert "requeue" not in asked(commands)
    assert "12 of 100 block reads found damage" in asked(commands)
    assert entries(run, STARTS)[-1]["verdict"] == "non-retryable"


@pytest.mark.parametrize(("state", "kept"), [("RUNNING", True), ("FAILED", False)])
def test_a_lock_of_a_job_that_is_over_is_taken_away(commands: Path, tmp_path: Path, state: str, kept: bool) -> None:
    run = tmp_path / "run"
    (run / LOCK).mkdir(parents=True)
    holder = replace(Holder.of_this_process(), machine="another", job="6")
    (run / LOCK / "holder.json").write_text(json.dumps(asdict(holder)))
    stand_in(commands, "scontrol", f'echo "JobId=6 JobState={state} Restarts=0"')
    stand_in(commands, "srun", "exit 0")
    assert job.run([str(run), "--processes-per-node", "1"]) == 0
    assert (run / LOCK).exists() == kept


def test_the_mistake_of_an_earlier_start_is_mended(commands: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    records.write_reason(run, "6-0", Reason(1, task.NON_RETRYABLE, "old", 2.0))
    stand_in(commands, "srun", "exit 137")
    assert job.run([str(run), "--processes-per-node", "3"]) == 0
    assert "requeue 7" in asked(commands)


def test_shards_that_are_away_for_long_are_a_crash_that_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> int:
        raise Unreachable("shards/train-000000.tar: could not be read for 5 min (Stale file handle)")

    monkeypatch.setattr("pretrain.command.Command.parse", away)
    for name, value in (HERE | {"SLURM_PROCID": "0"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(task.Crash, match="train-000000"):
        task.train_as_task(tmp_path, [])
    found = job.ERROR_LINE.search("0: __main__.Crash: shards/train-000000.tar: could not be read for 5 min")
    assert found is not None
    assert "train-000000" in found[0]
    assert [left.code for left in records.reasons(tmp_path, "7-0")] == [task.CRASHED]
