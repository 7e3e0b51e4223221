"""The batch job of a training run: one process on its first node, from a start to its end.

It starts a `launch.task` for each GPU with srun, and when they have ended decides what follows:

- all finished: the job is done;
- they were asked to stop (the time limit is near): the job is queued again;
- something crashed, or was killed: the job is queued again, unless that has got it nowhere several times in a row;
- a mistake that would only come again: the job fails, and says why in Slurm's comment on it.

Where Slurm ends the job itself (preemption, a lost node, `scancel`, `scontrol requeue`), Slurm has decided what
follows, and this process only goes. Nothing is remembered but the run folder: each start continues from its newest
checkpoint.
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
from launch.task import MISTAKE, start_name
from pretrain.parallel.srun_environment import first_host
from pretrain.run import lock

WAIT_SECONDS = 30
"""That the other processes of a start get to end after the first one has; with NCCL they may hang for ever."""
PATIENCE_SECONDS = 600
"""For which a controller that does not answer is asked again."""

COMPLAINT = re.compile(
    r"^\s*\d+: pretrain: (.*)|(srun: error: .*)|^\s*(\d+: (?:\[rank\d+\]: )?[\w.]*(?:Error|Crash): .*)"
)
"""A line that says why a process ended: its own last words, srun's, or the end of a traceback."""


@dataclass(frozen=True)
class JobOptions:
    """What a batch script says to its job."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    processes_per_node: int
    """One a GPU."""
    max_crashes: int = 3
    """Starts in a row that crash without a new checkpoint before the job gives up."""
    max_restarts: int = 100
    """Starts in all, whoever asked for them."""
    task: str = shlex.quote(sys.executable)
    """Command that is Python for a task: this interpreter, or one in a container."""
    arguments: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Options of `harnet pretrain`."""


@dataclass
class Start:
    """One start of the job."""

    options: JobOptions
    """What the batch script said."""
    job: str = field(default_factory=lambda: os.environ["SLURM_JOB_ID"])
    """Its number."""
    restart: int = field(default_factory=lambda: int(os.environ.get("SLURM_RESTART_COUNT", "0")))
    """How often Slurm has queued it again."""
    ended_by_slurm: bool = False
    """TERM came: Slurm is ending the job."""
    complaints: list[str] = field(default_factory=list)
    """Lines of output that say why something ended."""

    def go(self) -> int:
        """Run the tasks to their end, and do what follows; return the exit code of the job."""
        signal.signal(signal.SIGTERM, self._terminated)
        step = newest_step(self.options.run)
        here = {"job": self.job, "restart": self.restart}
        if self.restart > self.options.max_restarts:
            return self.fail(f"started {self.restart} times again already; submit again if that is right")
        nodes = os.environ["SLURM_JOB_NODELIST"]
        records.append(self.options.run, STARTS, here | {"event": "start", "nodes": nodes, "step": step})
        log_line(f"start {self.restart} of job {self.job} on {nodes}, from step {step}")
        self.clear_lock()
        code = self.run_tasks()
        now = newest_step(self.options.run)
        verdict = "mistake" if code and self.mistakes else verdict_of(code)
        log_line(f"{verdict} (code {code}) at step {now}{': ' if self.reason else ''}{self.reason}")
        end = {"event": "end", "code": code, "verdict": verdict, "steps": now - step, "reason": self.reason}
        records.append(self.options.run, STARTS, here | end)
        return self.follow(code, verdict)

    def clear_lock(self) -> None:
        """Take away what a process of an earlier job has left that was killed: Slurm knows whether the job is over.

        A killed process on another machine is what training itself cannot be certain of.
        """
        found = lock.holder(self.options.run)
        if found and found.job and found.job != self.job:
            other = slurm.job(found.job)
            if other is None or not other.alive:
                lock.release(self.options.run)

    def follow(self, code: int, verdict: str) -> int:
        """What is done after an end."""
        if verdict == "finished":
            return 0
        if verdict == "mistake":
            return self.fail(self.reason or "see the log")
        if self.ended_by_slurm or not self.is_mine():
            return code  # by now the job is cancelled, or queued again already
        if verdict == "crashed":
            crashes = crashes_in_a_row(records.entries(self.options.run, STARTS), self.job)
            if crashes >= self.options.max_crashes:
                return self.fail(f"gave up after {crashes} starts in a row without a new checkpoint: {self.reason}")
        log_line("queueing the job again")
        run_until_answered("scontrol", "requeue", self.job)
        return 0

    def fail(self, reason: str) -> int:
        """Say why where everybody looks: log, and Slurm's comment on the job, which no full disk can hold up."""
        log_line(f"failed: {reason}")
        run_until_answered("scontrol", "update", f"JobId={self.job}", f"Comment={comment(reason)}")
        return MISTAKE

    def run_tasks(self) -> int:
        """Start one process a GPU on every node, pass on what they print, and return the largest of their codes."""
        with subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", bufsize=1, env=os.environ | self.meeting_point(),
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                log_line(line.rstrip("\n"), stamped=False)
                if found := COMPLAINT.search(line):
                    self.complaints.append(next(filter(None, found.groups())))
        return process.returncode

    def command(self) -> list[str]:
        """The srun that starts the tasks.

        A process that was asked to stop ends with a code that is not 0, and the others must not be killed over that,
        whatever the cluster's default: they are about to do the same. srun of 22.05 and later does not take
        cpus-per-task from the batch script.
        """
        cores, nodes = os.environ.get("SLURM_CPUS_PER_TASK"), int(os.environ["SLURM_JOB_NUM_NODES"])
        return [
            "srun", f"--nodes={nodes}", f"--ntasks={nodes * self.options.processes_per_node}",
            f"--ntasks-per-node={self.options.processes_per_node}", *([f"--cpus-per-task={cores}"] if cores else []),
            "--label", "--unbuffered", "--kill-on-bad-exit=0", f"--wait={WAIT_SECONDS}",
            *shlex.split(self.options.task), "-P", "-m", "launch.task",
            str(self.options.run), *self.options.arguments,
        ]  # fmt: skip

    def meeting_point(self) -> dict[str, str]:
        """Where the processes of this start meet: this node, which is also the first one's, on a port that is free."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        node = os.environ.get("SLURMD_NODENAME") or first_host(os.environ["SLURM_JOB_NODELIST"])
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        return {"MASTER_ADDR": node, "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}

    def is_mine(self) -> bool:
        """Whether this start is still what Slurm means by the job.

        A node that was cut off may come back while the job, restarted, runs elsewhere; and a cancelled job could be
        queued again by mistake.
        """
        job = slurm.Job(slurm.parse(run_until_answered("scontrol", "--oneliner", "show", "job", self.job)))
        return job.state == "RUNNING" and job.restarts == self.restart

    @property
    def mistakes(self) -> list[records.Reason]:
        """Of the processes of this start. One is enough: what the others die of because of it is no news."""
        left = records.reasons(self.options.run, start_name(os.environ))
        return [reason for reason in left if reason.code == MISTAKE]

    @property
    def reason(self) -> str:
        """What a process left in the run folder, a mistake before all else; without that the first complaint in the
        output, since those after it are mostly consequences. srun's own words come last."""
        if left := self.mistakes or records.reasons(self.options.run, start_name(os.environ)):
            return left[0].text
        ours = [line for line in self.complaints if not line.startswith("srun:")]
        return next(iter(ours or self.complaints), "")

    def _terminated(self, signum: int, frame: FrameType | None) -> None:
        self.ended_by_slurm = True


def verdict_of(code: int) -> str:
    """What the largest exit code of the tasks means; 140 and 143 are USR2 and TERM before Python could handle them."""
    if code == 0:
        return "finished"
    if code in (INTERRUPTED, 128 + signal.SIGUSR2, 128 + signal.SIGTERM):
        return "stopped"
    return "mistake" if code == MISTAKE else "crashed"


def crashes_in_a_row(starts: list[dict], job: str) -> int:
    """How many of the last starts of a job crashed without a new checkpoint. Those that Slurm ended do not count."""
    count = 0
    for entry in reversed(starts):
        if entry["job"] != job or entry["event"] != "end":
            continue
        if entry["verdict"] != "crashed" or entry["steps"] > 0:
            break
        count += 1
    return count


def comment(reason: str) -> str:
    """A reason as Slurm can keep it and give it back: one line, nothing that its parsers take for syntax."""
    return re.sub(r"[^\w ./:;,()%'+-]+", " ", reason)[:250]


def log_line(text: str, stamped: bool = True) -> None:
    """A line of the job's log. A log on a full disk is no reason to end: what matters is also in Slurm's comment."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n" if stamped else f"{text}\n"
    try:
        os.write(sys.stdout.fileno(), line.encode())  # unbuffered: what a disk refused must not come up again at exit
    except OSError:
        return


def run_until_answered(*command: str) -> str:
    """Ask Slurm, again and again while its controller restarts."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return slurm.run_command(*command)
        except slurm.ControllerSilent:
            if time.monotonic() > deadline:
                raise
            time.sleep(5)


def parse(arguments: list[str]) -> JobOptions:
    """Options before `--` are of the job, what follows them goes to `harnet pretrain`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = tyro.cli(JobOptions, prog="launch.job", args=arguments[:cut])
    return replace(options, arguments=tuple(arguments[cut + 1 :]))


def run(arguments: list[str]) -> int:
    """The job of these arguments, from start to end; a disk that is full is said in Slurm's comment as well."""
    slurm.environment("SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES")
    start = Start(parse(arguments))
    try:
        return start.go()
    except OSError as error:
        return start.fail(f"{error.filename or start.options.run}: {error.strerror or error}")


def main() -> NoReturn:
    """`python -m launch.job RUN --processes-per-node N -- OPTIONS...`, inside a batch script."""
    sys.exit(guarded("job", "slurm", lambda: run(sys.argv[1:])))


if __name__ == "__main__":
    main()
