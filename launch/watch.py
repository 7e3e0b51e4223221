"""State of a run, from Slurm, its checkpoints and its log; nothing else is stored."""

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
    """State of a run at one moment."""

    run: str
    """Run folder."""
    state: str
    """queued, running, ending, requeued, finished, failed, cancelled; gone if Slurm no longer knows the job, manual if
    there never was one; unknown while Slurm does not respond."""
    detail: str
    """Explanation in a few words; empty if the state is clear."""
    job: str | None
    """Id of its last job."""
    restarts: int
    """How often Slurm has restarted that job."""
    step: int
    """Last logged step, or that of the newest checkpoint if later."""
    steps: int | None
    """Total steps of the run; None if unknown."""
    checkpoint: int
    """Step of the newest complete checkpoint; 0 if there is none."""
    windows_per_second: float | None
    """Throughput while it runs, otherwise None."""
    eta_seconds: float | None
    """Remaining time while it runs, without time in the queue; otherwise None."""

    @property
    def over(self) -> bool:
        """Whether the run will not change any more without user action."""
        return self.state in ("finished", "failed", "cancelled", "gone", "manual")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """One line with the state and progress, one with the last checkpoint."""
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
    """Human-readable duration, such as 2 d 3 h, 5 h 10 min, 12 min or 40 s."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


def status(run: Path) -> Status:
    """Current state of the run in a run folder.

    Raises:
        HarnetError: it is not a run folder.
    """
    submitted = records.entries(run, SUBMISSIONS) or _started_with_sbatch(run)
    checkpoint, logged = newest_step(run), records.last_logged(run)
    if not (submitted or checkpoint or logged):
        raise HarnetError(
            f"{run}: contains no run; pass the run folder of `harnet submit pretrain` or `harnet pretrain`"
        )
    config = records.settings(run) or {"run": {}, "data": {}}
    steps = config["run"].get("steps")
    number = submitted[-1]["job"] if submitted else None
    finished = (steps is not None and checkpoint >= steps) or _last_start_finished(run)
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


def _started_with_sbatch(run: Path) -> list[dict[str, Any]]:
    """Jobs submitted directly with sbatch are recorded only from their first start."""
    return records.entries(run, STARTS)


def _is_of_this_start(run: Path, logged: LogLine) -> bool:
    """Whether the log line was written since the last start: older ones do not show the current speed."""
    starts = [entry for entry in records.entries(run, STARTS) if entry["event"] == "start"]
    return not starts or logged.time > starts[-1]["time"]


def _state(run: Path, number: str | None, job: Job | None, logged: LogLine | None) -> tuple[str, str]:
    """State and detail of a run that is not finished."""
    if job is None:
        if number is not None:
            return "gone", f"Slurm no longer knows job {number}; the same submit command resumes the run"
        age = duration(logged.age_seconds) if logged else "?"
        return "manual", f"not started by a job; last log line {age} ago"
    if job.waiting:
        reason = job.facts.get("Reason", "None")
        return "requeued" if job.restarts or job.state != "PENDING" else "queued", f"waiting for {_why(reason)}"
    if job.state == "COMPLETING":
        return "ending", "Slurm is cleaning up after it"
    if job.alive:
        return "running", _pace(run, logged)
    if job.state == "CANCELLED":
        return "cancelled", "the same submit command resumes it"
    code = job.facts.get("ExitCode", "?").partition(":")[0]
    reason = job.comment or _last_reason(run, number) or _no_reason(run, number)
    return "failed", f"{job.state}, code {code}: {reason}; once fixed, the same submit command resumes it"


def _why(reason: str) -> str:
    """Slurm's reason for a pending job in plain words, for the common ones."""
    words = {
        "BeginTime": "Slurm's delay after a requeue (BeginTime)",
        "Resources": "free nodes (Resources)",
        "Priority": "jobs of higher priority (Priority)",
        "None": "the scheduler",
    }
    return words.get(reason, reason)


def _pace(run: Path, logged: LogLine | None) -> str:
    if logged is None or not _is_of_this_start(run, logged):
        return "starting"
    return f"no step for {duration(logged.age_seconds)}" if logged.age_seconds > 120 else ""


def _last_start_finished(run: Path) -> bool:
    """Whether the last start finished the run, possibly by early stopping, with fewer steps than planned."""
    last = records.entries(run, STARTS)[-1:]
    return any(entry["event"] == "end" and entry["verdict"] == "finished" for entry in last)


def _no_reason(run: Path, number: str | None) -> str:
    """Text for a job that recorded no reason."""
    folder = run / SLURM
    by_hand = not records.entries(run, SUBMISSIONS)
    return (
        "see the log" if by_hand or (folder / f"{number}.log").exists() else f"without a log: do the nodes see {run}?"
    )


def _last_reason(run: Path, number: str | None) -> str:
    ends = [one for one in records.entries(run, STARTS) if one["event"] == "end" and one["job"] == number]
    return str(ends[-1]["reason"]) if ends else ""


def follow(run: Path) -> int:
    """Show the progress of a run until it is over; the exit code is 0 if it finished."""
    found = status(run)
    with bar(found.steps, "pretrain", "steps", initial=found.step) as shown:
        while not found.over:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            found = status(run)
            shown.set_postfix_str(found.state, refresh=False)
            shown.update(found.step - shown.n)
    print(found.as_text(), file=sys.stderr if found.state == "failed" else sys.stdout)
    return int(found.state != "finished")
