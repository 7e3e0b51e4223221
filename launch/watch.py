"""The state of a run: from Slurm itself, from its checkpoints and from its log; nothing is remembered in between."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.progress import bar
from harnet.run_folder import SLURM, STARTS, SUBMISSIONS, newest_step
from launch import records, slurm
from launch.records import LogLine
from launch.slurm import Job

SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True)
class Status:
    """What can be said of a run at a moment."""

    run: str
    """Run folder."""
    state: str
    """queued, running, ending, requeued, finished, failed, cancelled; gone where Slurm has forgotten the job, manual
    where there never was one; unknown while Slurm does not answer."""
    detail: str
    """Why, in a few words; empty where the state says it all."""
    job: str | None
    """Number of its last job."""
    restarts: int
    """How often Slurm has started that job again."""
    step: int
    """Last step in the log, or of the newest checkpoint if that is later."""
    steps: int | None
    """Steps of the whole run; None if nothing in the folder says."""
    checkpoint: int
    """Steps of the newest complete checkpoint; 0 without one."""
    windows_per_second: float | None
    """While it runs."""
    eta_seconds: float | None
    """While it runs; waiting in the queue is not in it."""

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more by itself."""
        return self.state in ("finished", "failed", "cancelled", "gone", "manual")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """One line for what it does, one for what is safe."""
        job = f" (job {self.job}, restart {self.restarts})" if self.job and self.restarts else ""
        job = job or (f" (job {self.job})" if self.job else "")
        progress = f", step {self.step} of {self.steps or '?'}"
        if self.windows_per_second is not None:
            progress += f", {self.windows_per_second:,.0f} windows/s"
        if self.eta_seconds is not None:
            progress += f", {duration(self.eta_seconds)} to go"
        detail = f": {self.detail}" if self.detail else ""
        safe = f"last checkpoint: step {self.checkpoint}" if self.checkpoint else "no checkpoint yet"
        return f"{self.run}: {self.state}{job}{progress}{detail}\n{safe}"


def duration(seconds: float) -> str:
    """Such as 2 d 3 h, 5 h 10 min, 12 min or 40 s."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


def status(run: Path) -> Status:
    """The state of a run folder now.

    Raises:
        HarnetError: it is no run folder.
    """
    submitted = records.entries(run, SUBMISSIONS) or _by_hand(run)
    checkpoint, logged = newest_step(run), records.last_logged(run)
    if not (submitted or checkpoint or logged):
        raise HarnetError(f"{run}: no run in it; give the run folder of `harnet submit pretrain` or `harnet pretrain`")
    config = records.settings(run) or {"run": {}, "data": {}}
    steps = config["run"].get("steps")
    number = submitted[-1]["job"] if submitted else None
    finished = (steps is not None and checkpoint >= steps) or _said_finished(run)
    job, silence = slurm.find_job(number) if number else (None, "")
    if finished:
        state, detail = "finished", ""
    else:
        state, detail = ("unknown", silence) if silence else _state(run, number, job, logged)
    step = max(checkpoint, logged.step if logged else 0)
    rate = logged.windows_per_second if logged and state == "running" and _is_of_this_start(run, logged) else None
    left = (steps - step) * config["data"]["batch"] if steps is not None and "batch" in config["data"] else None
    return Status(
        run=str(run), state=state, detail=detail, job=number, restarts=job.restarts if job else 0,
        step=step, steps=steps, checkpoint=checkpoint,
        windows_per_second=rate, eta_seconds=left / rate if left is not None and rate else None,
    )  # fmt: skip


def _by_hand(run: Path) -> list[dict[str, Any]]:
    """A job that was submitted by sbatch is known since its first start."""
    return records.entries(run, STARTS)


def _is_of_this_start(run: Path, logged: LogLine) -> bool:
    """Whether a line of the log is younger than the last start: an older one says nothing of the speed now."""
    starts = [entry for entry in records.entries(run, STARTS) if entry["event"] == "start"]
    return not starts or logged.time > starts[-1]["time"]


def _state(run: Path, number: str | None, job: Job | None, logged: LogLine | None) -> tuple[str, str]:
    """State and detail of a run that is not finished."""
    if job is None:
        if number is not None:
            return "gone", f"Slurm does not know job {number} any more; the same submit command continues the run"
        age = duration(logged.age_seconds) if logged else "?"
        return "manual", f"not started by a job; the last line of its log is {age} old"
    if job.waiting:
        reason = job.facts.get("Reason", "None")
        return "requeued" if job.restarts or job.state != "PENDING" else "queued", f"waits for {_why(reason)}"
    if job.state == "COMPLETING":
        return "ending", "Slurm is cleaning up after it"
    if job.alive:
        return "running", _pace(run, logged)
    if job.state == "CANCELLED":
        return "cancelled", "the same submit command continues it"
    code = job.facts.get("ExitCode", "?").partition(":")[0]
    reason = job.comment or _last_reason(run, number) or _no_reason(run, number)
    return "failed", f"{job.state}, code {code}: {reason}; once mended, the same submit command continues"


def _why(reason: str) -> str:
    """Slurm's reason for a wait in words, where it is one that people ask about."""
    words = {
        "BeginTime": "Slurm's pause after a restart (BeginTime)",
        "Resources": "nodes to become free (Resources)",
        "Priority": "jobs that come first (Priority)",
        "None": "the scheduler",
    }
    return words.get(reason, reason)


def _pace(run: Path, logged: LogLine | None) -> str:
    if logged is None or not _is_of_this_start(run, logged):
        return "starting"
    return f"no step for {duration(logged.age_seconds)}" if logged.age_seconds > 120 else ""


def _said_finished(run: Path) -> bool:
    """Whether the last start ended with nothing left to do: a run that stops early has fewer steps than planned."""
    last = records.entries(run, STARTS)[-1:]
    return any(entry["event"] == "end" and entry["verdict"] == "finished" for entry in last)


def _no_reason(run: Path, number: str | None) -> str:
    """What is left to say of a job that gave no reason."""
    folder = run / SLURM
    by_hand = not records.entries(run, SUBMISSIONS)
    return (
        "see the log" if by_hand or (folder / f"{number}.log").exists() else f"without a log: do the nodes see {run}?"
    )


def _last_reason(run: Path, number: str | None) -> str:
    ends = [one for one in records.entries(run, STARTS) if one["event"] == "end" and one["job"] == number]
    return str(ends[-1]["reason"]) if ends else ""


def follow(run: Path) -> int:
    """Show the progress of a run until nothing more will happen; 0 if it finished."""
    found = status(run)
    with bar(found.steps, "pretrain", "steps", initial=found.step) as shown:
        while not found.over:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            found = status(run)
            shown.set_postfix_str(found.state, refresh=False)
            shown.update(found.step - shown.n)
    print(found.as_text(), file=sys.stderr if found.state == "failed" else sys.stdout)
    return int(found.state != "finished")
