"""A tiny training run on the test cluster, submitted with the command that a user would type."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from harnet.run_folder import STARTS, read_log
from launch.cli import main
from launch.records import entries
from launch.slurm import expand
from launch.watch import Status, status
from tests.cluster.cluster import eventually

PATIENCE = 300
"""Time limit in seconds for any wait. It is generous because a busy machine is slow; a wait ends as soon as it can."""
STEPS = 60
SETTINGS = {
    "model.architecture": "harnet5", "run.precision": "fp32", "run.device": "cpu", "run.steps": STEPS,
    "optimizer.warmup-steps": 2, "data.batch": 12, "data.lanes": 12, "data.workers": 0, "data.windows-per-visit": 16,
    "data.shuffle-windows": 24, "data.heldout-windows": 12, "run.log-every": 1, "run.evaluate-every": STEPS,
    "run.checkpoint-every": 4, "run.keep": 99,
}  # fmt: skip
"""A step takes 0.1 to 0.3 s, so that a fault can be placed between two steps; the loss is logged at every step."""


COMMAND_LINE = Lock()
"""Stories run in threads of one process, and the parser's cache is not thread-safe."""


def harnet(*arguments: str) -> int:
    """Run a command; return its exit code."""
    with COMMAND_LINE:
        return main(list(arguments))


def options(shards: Path, run: Path, **changes: Any) -> list[str]:
    """Options of `harnet pretrain`; `run_steps=10` changes --run.steps."""
    changed = {name.replace("_", ".", 1).replace("_", "-"): value for name, value in changes.items()}
    settings = SETTINGS | {"data.shards": shards, "run.out": run} | changed
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


class Submitted:
    """A submitted run."""

    def __init__(self, shards: Path, run: Path, profile: Path, *submit: str, **changes: Any) -> None:
        self.run = run
        given = ["--nodes", "2", "--profile", str(profile), *submit]
        assert harnet("submit", "pretrain", *given, *options(shards, run, **changes)) == 0
        self.seen: list[str] = []

    @property
    def now(self) -> Status:
        found = status(self.run)
        if found.state not in self.seen[-1:]:
            self.seen.append(found.state)
        return found

    @property
    def job(self) -> str:
        number = self.now.job
        assert number is not None
        return number

    def wait_for_step(self, step: int, seconds: float = PATIENCE) -> Status:
        eventually(lambda: self._reached(step), seconds, lambda: f"step {step}; {self.now}\n{self.tail()}")
        return self.now

    def _reached(self, step: int) -> bool:
        found = self.now
        assert not found.over, f"{found}\n{self.tail()}"
        return found.state == "running" and found.step >= step and found.windows_per_second is not None

    def wait_for(self, state: str, seconds: float = PATIENCE) -> Status:
        deadline = time.monotonic() + seconds
        while (found := self.now).state != state:
            assert not found.over, f"{found}\n{self.tail()}"
            assert time.monotonic() < deadline, f"not {state} within {seconds} s: {found}\n{self.tail()}"
            time.sleep(0.3)
        return found

    def tail(self) -> str:
        """The last lines of the job's log, for the message of a failed test."""
        logs = sorted((self.run / "slurm").glob("*.log"))
        return "\n".join(logs[-1].read_text(errors="replace").splitlines()[-40:]) if logs else "no log"

    def tasks(self) -> list[int]:
        """Process ids of the training processes, in this machine's numbering."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue  # it ended in the meantime
                if b"launch.task" in words and os.fsencode(self.run) in words and b"srun" not in words[0]:
                    found.append(int(entry.name))
        return sorted(found)

    def nodes(self) -> Sequence[str]:
        """Nodes of the latest start; the batch process is on the first."""
        starts = [entry for entry in entries(self.run, STARTS) if entry["event"] == "start"]
        return expand(starts[-1]["nodes"])


def losses(run: Path) -> dict[int, float]:
    """Loss at every logged step; a step that was logged twice is an error."""
    rows = [row for row in read_log(run) if row["kind"] == "train"]
    assert len({row["step"] for row in rows}) == len(rows), "a step was logged twice"
    return {row["step"]: row["loss"] for row in rows}


@contextmanager
def held(run: Submitted) -> Iterator[None]:
    """Stop the training processes until Slurm has signalled them, so that they cannot finish earlier."""
    tasks = run.tasks()
    for task in tasks:
        os.kill(task, signal.SIGSTOP)
    # A signal takes effect when its process is scheduled, which on a busy machine may be later than the next line.
    eventually(lambda: not any(map(runs, tasks)), PATIENCE, "all tasks to stand still")
    yield
    eventually(lambda: not any(map(stands_still, tasks)), PATIENCE, "a signal to all tasks")
    for task in tasks:
        with suppress(ProcessLookupError):
            os.kill(task, signal.SIGCONT)


def runs(task: int) -> bool:
    """Whether a process exists and is not stopped."""
    facts = facts_of(task)
    return bool(facts) and facts["State"].split()[0] not in ("T", "Z", "X")


def stands_still(task: int) -> bool:
    """Whether a process is stopped and has no pending TERM or USR2."""
    facts = facts_of(task)
    if not facts or facts["State"].split()[0] != "T":
        return False
    pending = int(facts["ShdPnd"], 16)
    return not any(pending >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGUSR2))


def facts_of(task: int) -> dict[str, str]:
    """The fields of /proc/PID/status; empty if the process is gone."""
    try:
        lines = Path(f"/proc/{task}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":", 1) for line in lines)
