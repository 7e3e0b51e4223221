"""One run at a time in a run folder, and nothing to clean up after a killed run."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from harnet.errors import HarnetError
from harnet.run_folder import LOCK
from pretrain.config import PretrainConfig
from pretrain.parallel.distributed import Process
from pretrain.run import lock
from pretrain.run.lock import Holder, holder, run_lock
from pretrain.run.training import train
from tests.pretrain.runs import in_processes, small

ROOT = Path(__file__).parents[2]


def write(run: Path, found: Holder) -> None:
    (run / LOCK).mkdir(parents=True, exist_ok=True)
    (run / LOCK / "holder.json").write_text(json.dumps(asdict(found)))


def test_a_second_process_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "first"
    with run_lock(run):
        with (
            pytest.raises(HarnetError, match=rf"process {os.getpid()} on \S+ has written .* delete {run / LOCK}$"),
            run_lock(run),
        ):
            pass
        assert holder(run) is not None, "whoever is refused takes nothing away"
    assert not run.exists(), "nothing was written, so no folder is left"
    with run_lock(run):
        (run / "log.jsonl").write_text("")
    assert [path.name for path in run.iterdir()] == ["log.jsonl"]


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = (
        f"import time; from pathlib import Path; from pretrain.run.lock import run_lock\n"
        f"with run_lock(Path({str(run)!r})):\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as other:
        while holder_or_none(run) is None:
            time.sleep(0.01)
        with pytest.raises(HarnetError, match=f"process {other.pid} on"), run_lock(run):
            pass
        other.send_signal(signal.SIGKILL)
    with run_lock(run):
        assert holder(run) == replace(Holder.of_this_process(), since=holder(run).since)
    assert not (run / LOCK).exists()


def test_a_process_that_has_ended_holds_nothing_before_its_parent_waits_for_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        held = replace(Holder.of_this_process(), pid=other.pid, started=lock._start_of(other.pid) or 0)
        assert not held.has_ended()
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert held.has_ended()


def holder_or_none(run: Path) -> Holder | None:
    return holder(run) if run.is_dir() else None


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, False),
        ({"started": 1}, True),  # another process has its number by now
        ({"pid": 2**22 + 1}, True),
        ({"machine": "another", "started": 1}, False),  # cannot be known from here
        ({"machine": "another", "job": "7", "restart": 1}, True),  # Slurm has ended that start
        ({"machine": "another", "job": "7", "restart": 2}, False),
        ({"machine": "another", "job": "8", "restart": 1}, False),
    ],
)
def test_only_what_is_certainly_gone_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], gone: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    write(tmp_path / "run", replace(Holder.of_this_process(), **change))
    if gone:
        with run_lock(tmp_path / "run"):
            pass
    else:
        with pytest.raises(HarnetError, match="two runs in one folder would corrupt"), run_lock(tmp_path / "run"):
            pass
        assert (tmp_path / "run" / LOCK).exists()


def test_of_two_that_take_over_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the stale lock; the other one is quicker."""
    run, stale = tmp_path / "run", replace(Holder.of_this_process(), started=1)
    quicker = replace(Holder.of_this_process(), machine="another")
    write(run, stale)
    real = Holder.has_ended

    def slow(self: Holder) -> bool:
        found = real(self)
        write(run, quicker)
        return found

    monkeypatch.setattr(lock.Holder, "has_ended", slow)
    with pytest.raises(HarnetError, match="two runs in one folder"), run_lock(run):
        pass
    assert holder(run) == quicker
    assert [path.name for path in run.iterdir()] == [LOCK]


def refused(process: Process, config: PretrainConfig, out: Path) -> None:
    try:
        train(config, process)
    except (HarnetError, OSError) as error:
        (out / f"{process.rank}.txt").write_text(str(error))


def test_all_processes_of_a_refused_run_end(shards: Path, tmp_path: Path) -> None:
    write(tmp_path / "run", replace(Holder.of_this_process(), machine="another"))
    in_processes(2, refused, small(shards, tmp_path / "run"), tmp_path)
    assert all("two runs in one folder" in (tmp_path / f"{rank}.txt").read_text() for rank in range(2))


def test_all_processes_end_where_the_folder_cannot_be_made(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    in_processes(2, refused, small(shards, tmp_path / "file" / "run"), tmp_path)
    assert all("Not a directory" in (tmp_path / f"{rank}.txt").read_text() for rank in range(2))
