"""The supervisor of a training job: one process on the first node that runs from start to end of each (re)start.

It starts one `launch.task` per GPU with srun and, when all have exited, decides what to do:

- all finished: the job is done;
- they were asked to stop (the time limit is near): requeue the job;
- something crashed or was killed: requeue, unless several starts in a row made no progress;
- a non-retryable error: the job fails, and Slurm's job comment says why.

If Slurm itself ends the job (preemption, a lost node, `scancel`, `scontrol requeue`), Slurm has already decided, and
this process just exits. The run folder is the only state: each start resumes from its newest checkpoint.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

import tyro

from harnet.console import INTERRUPTED, guarded
from harnet.run_folder import STARTS, newest_step
from launch import records, slurm
from launch.task import NON_RETRYABLE, start_name
from pretrain.parallel.srun_environment import first_host
from pretrain.run import lock

WAIT_SECONDS = 30
"""Time for the other tasks to exit after the first one has; with NCCL they may hang indefinitely."""
PATIENCE_SECONDS = 600
"""How long to retry when Slurm's controller does not respond."""

ERROR_LINE = re.compile(
    r"^\s*\d+: pretrain: (.*)|(srun: error: .*)|^\s*(\d+: (?:\[rank\d+\]: )?[\w.]*(?:Error|Crash): .*)"
)
"""Matches a line that says why a process ended: its final error message, srun's, or the end of a traceback."""


@dataclass(frozen=True)
class JobOptions:
    """Options that the batch script passes to `launch.job`."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    processes_per_node: int
    """Processes per node: one per GPU."""
    max_crashes: int = 3
    """Consecutive crashes without a new checkpoint before the job gives up."""
    max_restarts: int = 100
    """Maximum number of restarts in total, for whatever reason."""
    task: str = shlex.quote(sys.executable)
    """Command that runs Python for a task: this interpreter, or one in a container."""
    arguments: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Options of `harnet pretrain`."""


@dataclass
class Start:
    """One start (or restart) of the job."""

    options: JobOptions
    """Options from the batch script."""
    job: str = field(default_factory=lambda: os.environ["SLURM_JOB_ID"])
    """Job id."""
    restart: int = field(default_factory=lambda: int(os.environ.get("SLURM_RESTART_COUNT", "0")))
    """How often Slurm has restarted the job."""
    ended_by_slurm: bool = False
    """Whether SIGTERM was received: Slurm is ending the job."""
    error_lines: list[str] = field(default_factory=list)
    """Output lines that give the reason why a process ended."""

    def run(self) -> int:
        """Run the tasks until they exit, then finish, requeue or fail; returns the job's exit code."""
        signal.signal(signal.SIGTERM, self._terminated)
        step = newest_step(self.options.run)
        here = {"job": self.job, "restart": self.restart}
        if self.restart > self.options.max_restarts:
            return self.fail(f"already restarted {self.restart} times; if that is expected, submit it again")
        nodes = os.environ["SLURM_JOB_NODELIST"]
        records.append(self.options.run, STARTS, here | {"event": "start", "nodes": nodes, "step": step})
        log_line(f"start {self.restart} of job {self.job} on {nodes}, from step {step}")
        self.clear_lock()
        code = self.run_tasks()
        now = newest_step(self.options.run)
        verdict = "non-retryable" if code and self.non_retryable else verdict_of(code)
        log_line(f"{verdict} (code {code}) at step {now}{': ' if self.reason else ''}{self.reason}")
        end = {"event": "end", "code": code, "verdict": verdict, "steps": now - step, "reason": self.reason}
        records.append(self.options.run, STARTS, here | end)
        return self.follow(code, verdict)

    def clear_lock(self) -> None:
        """Remove the lock left by a killed process of an earlier job, once Slurm confirms that the job has ended.

        Training itself cannot know whether a process on another machine is still alive.
        """
        found = lock.holder(self.options.run)
        if found and found.job and found.job != self.job:
            other = slurm.job(found.job)
            if other is None or not other.alive:
                lock.release(self.options.run)

    def follow(self, code: int, verdict: str) -> int:
        """Finish, requeue or fail after the tasks have exited; returns the job's exit code."""
        if verdict == "finished":
            return 0
        if verdict == "non-retryable":
            return self.fail(self.reason or "see the log")
        if self.ended_by_slurm or not self.is_current_start():
            return code  # the job has been cancelled or requeued by now
        if verdict == "crashed":
            crashes = consecutive_crashes(records.entries(self.options.run, STARTS), self.job)
            if crashes >= self.options.max_crashes:
                return self.fail(f"gave up after {crashes} starts in a row without a new checkpoint: {self.reason}")
        log_line("requeueing the job")
        run_with_retries("scontrol", "requeue", self.job)
        return 0

    def fail(self, reason: str) -> int:
        """Report the reason in the log and in Slurm's job comment, which works even if the disk is full."""
        log_line(f"failed: {reason}")
        run_with_retries("scontrol", "update", f"JobId={self.job}", f"Comment={comment(reason)}")
        return NON_RETRYABLE

    def run_tasks(self) -> int:
        """Start the tasks on all nodes, forward their output, and return their largest exit code."""
        with subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", bufsize=1, env=os.environ | self.rendezvous(),
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                log_line(line.rstrip("\n"), stamped=False)
                if found := ERROR_LINE.search(line):
                    self.error_lines.append(next(filter(None, found.groups())))
        return process.returncode

    def command(self) -> list[str]:
        """The srun command that starts the tasks.

        A task that was asked to stop exits with a non-zero code; this must not kill the others, whatever the cluster's
        default, because they are about to stop too. Since Slurm 22.05, srun no longer inherits cpus-per-task from the
        batch script.
        """
        cores, nodes = os.environ.get("SLURM_CPUS_PER_TASK"), int(os.environ["SLURM_JOB_NUM_NODES"])
        return [
            "srun", f"--nodes={nodes}", f"--ntasks={nodes * self.options.processes_per_node}",
            f"--ntasks-per-node={self.options.processes_per_node}", *([f"--cpus-per-task={cores}"] if cores else []),
            "--label", "--unbuffered", "--kill-on-bad-exit=0", f"--wait={WAIT_SECONDS}",
            *shlex.split(self.options.task), "-P", "-m", "launch.task",
            str(self.options.run), *self.options.arguments,
        ]  # fmt: skip

    def rendezvous(self) -> dict[str, str]:
        """Rendezvous environment variables of the process group: this node, which also runs rank 0, and a free port."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        node = os.environ.get("SLURMD_NODENAME") or first_host(os.environ["SLURM_JOB_NODELIST"])
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        return {"MASTER_ADDR": node, "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}

    def is_current_start(self) -> bool:
        """Whether this is still the job's current start.

        A node that was disconnected may come back while the restarted job runs elsewhere; and a cancelled job must not
        be requeued by mistake.
        """
        job = slurm.Job(slurm.parse(run_with_retries("scontrol", "--oneliner", "show", "job", self.job)))
        return job.state == "RUNNING" and job.restarts == self.restart

    @property
    def non_retryable(self) -> list[records.Reason]:
        """Non-retryable errors of this start's processes. One is enough: the others fail as a consequence."""
        left = records.reasons(self.options.run, start_name(os.environ))
        return [reason for reason in left if reason.code == NON_RETRYABLE]

    @property
    def reason(self) -> str:
        """The most likely cause of failure: a reason recorded in the run folder, non-retryable ones first; otherwise
        the first error line in the output, since later ones are mostly consequences. Those of srun come last."""
        if left := self.non_retryable or records.reasons(self.options.run, start_name(os.environ)):
            return left[0].text
        ours = [line for line in self.error_lines if not line.startswith("srun:")]
        return next(iter(ours or self.error_lines), "")

    def _terminated(self, signum: int, frame: FrameType | None) -> None:
        self.ended_by_slurm = True


def verdict_of(code: int) -> str:
    """Meaning of the tasks' largest exit code; 140 and 143 are SIGUSR2 and SIGTERM before Python could handle them."""
    if code == 0:
        return "finished"
    if code in (INTERRUPTED, 128 + signal.SIGUSR2, 128 + signal.SIGTERM):
        return "stopped"
    return "non-retryable" if code == NON_RETRYABLE else "crashed"


def consecutive_crashes(starts: list[dict], job: str) -> int:
    """Number of the job's most recent starts that crashed in a row without a new checkpoint.

    Starts that Slurm ended have no end entry and do not count.
    """
    count = 0
    for entry in reversed(starts):
        if entry["job"] != job or entry["event"] != "end":
            continue
        if entry["verdict"] != "crashed" or entry["steps"] > 0:
            break
        count += 1
    return count


def comment(reason: str) -> str:
    """The reason in a form that Slurm can store and return: one line, without characters special to its parsers."""
    return re.sub(r"[^\w ./:;,()%'+-]+", " ", reason)[:250]


def log_line(text: str, stamped: bool = True) -> None:
    """Write a line to the job's log. A full disk is ignored: what matters is also in Slurm's job comment."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n" if stamped else f"{text}\n"
    try:
        os.write(sys.stdout.fileno(), line.encode())  # unbuffered: a failed write must not be retried at exit
    except OSError:
        return


def run_with_retries(*command: str) -> str:
    """Run a Slurm command, retrying while the controller does not respond, for example during its restart."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return slurm.run_command(*command)
        except slurm.SlurmNotResponding:
            if time.monotonic() > deadline:
                raise
            time.sleep(5)


def parse(arguments: list[str]) -> JobOptions:
    """Parse the job's options, before `--`, and those of `harnet pretrain`, after it."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = tyro.cli(JobOptions, prog="launch.job", args=arguments[:cut])
    return replace(options, arguments=tuple(arguments[cut + 1 :]))


def run(arguments: list[str]) -> int:
    """Run the job to its end; a full disk is also reported in Slurm's job comment. Returns the exit code."""
    slurm.environment("SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES")
    start = Start(parse(arguments))
    try:
        return start.run()
    except OSError as error:
        return start.fail(f"{error.filename or start.options.run}: {error.strerror or error}")


def main() -> NoReturn:
    """Entry point: `python -m launch.job RUN --processes-per-node N -- OPTIONS...`, inside a batch script."""
    sys.exit(guarded("job", "train", lambda: run(sys.argv[1:])))


if __name__ == "__main__":
    main()
