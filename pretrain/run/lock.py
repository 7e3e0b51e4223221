"""One run at a time in a run folder: something in it names the process that writes there.

It is a file in a folder of its own, since renaming a folder fails on every file system if the name is taken by one that
is not empty. `flock` and hard links are not to be had everywhere, or for one node only. What a killed process left is
taken over where it is certain that the process is gone: it was of this machine and is not there any more, or of
an earlier start of the same Slurm job, which Slurm has ended. `launch.job` asks Slurm about other jobs.
"""

import errno
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harnet.errors import HarnetError
from harnet.run_folder import LOCK

_FILE = "holder.json"


@dataclass(frozen=True)
class Holder:
    """The process that writes to a run folder."""

    host: str
    """Name of its machine, for people."""
    machine: str
    """Of this start of the machine, and of the namespace in which process numbers count."""
    pid: int
    """Number of the process."""
    started: int
    """When it started, in clock ticks since the machine did: numbers of processes come up again."""
    since: float
    """When it took the folder, in seconds since 1970."""
    job: str = ""
    """Slurm's job, if it is one."""
    restart: int = 0
    """How often Slurm had queued that again."""

    @classmethod
    def of_this_process(cls) -> "Holder":
        """This process."""
        job, restart = os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _start_of(pid) or 0, time.time(), job, restart)

    def has_ended(self) -> bool:
        """Whether it certainly does not run any more."""
        here = Holder.of_this_process()
        if self.job and self.job == here.job and self.restart != here.restart:
            return True
        return self.machine == here.machine and _start_of(self.pid) != self.started


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _start_of(pid: int) -> int | None:
    """Clock ticks from the start of the machine to that of a process; None if it has ended (proc(5), stat)."""
    try:
        # The name of the program, in brackets, may hold anything.
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(others[18])


def holder(run: Path) -> Holder | None:
    """Who writes to a run folder; None if nobody does."""
    return _read(run / LOCK)


def release(run: Path) -> Holder | None:
    """End the claim on a run folder, whoever has it; return who that was."""
    aside = run / f".{LOCK}-{uuid.uuid4().hex}"
    try:
        os.rename(run / LOCK, aside)
    except FileNotFoundError:
        return None
    found = _read(aside)
    shutil.rmtree(aside)
    return found


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Keep the folder for this process; it is made if it is not there.

    Raises:
        HarnetError: another process has it.
    """
    made = not run.exists()
    run.mkdir(parents=True, exist_ok=True)
    own = Holder.of_this_process()
    while not _claim(run, own):
        found = holder(run)
        if found is None:
            continue  # given back meanwhile
        if not found.has_ended():
            raise _refusal(run, found)
        moved = release(run)
        if moved is not None and moved != found:
            # Somebody else was quicker to take it over.
            _claim(run, moved)
            raise _refusal(run, moved)
    try:
        yield
    finally:
        if holder(run) == own:
            release(run)
        if made:
            with suppress(OSError):  # nothing was written: no reason to leave a folder
                run.rmdir()


def _read(folder: Path) -> Holder | None:
    try:
        return Holder(**json.loads((folder / _FILE).read_text()))
    except FileNotFoundError:
        return None


def _claim(run: Path, who: Holder) -> bool:
    """Whether the folder is `who`'s from now on."""
    candidate = run / f".{LOCK}-{uuid.uuid4().hex}"
    candidate.mkdir()
    (candidate / _FILE).write_text(json.dumps(asdict(who)))
    try:
        os.rename(candidate, run / LOCK)
    except OSError as error:
        shutil.rmtree(candidate)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def _refusal(run: Path, found: Holder) -> HarnetError:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.since))
    job = f", Slurm job {found.job}," if found.job else ""
    return HarnetError(
        f"{run}: process {found.pid} on {found.host}{job} has written to it since {since}, and two runs in one folder "
        f"destroy each other: wait for it or stop it, or take another --run.out; if it does not run any more, delete "
        f"{run / LOCK}"
    )
