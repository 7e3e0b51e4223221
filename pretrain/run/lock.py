"""Lock of a run folder: only one run at a time may write to it.

The lock is a folder with a file in it that names the holder, since renaming a folder onto one that is not empty fails
on every file system, while `flock` and hard links are not available everywhere, or only within a node. The lock of a
killed process is taken over if it has certainly ended: it ran on this machine and no longer exists, or it belonged to
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
    """Host name, for messages."""
    machine: str
    """Identifies the boot of the machine and the PID namespace."""
    pid: int
    """Process id."""
    started: int
    """Start time in clock ticks since boot: process ids are reused."""
    since: float
    """When it acquired the lock, in seconds since 1970."""
    job: str = ""
    """Slurm job id, if any."""
    restart: int = 0
    """How often Slurm had requeued that job."""

    @classmethod
    def of_this_process(cls) -> "Holder":
        """This process."""
        job, restart = os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _start_of(pid) or 0, time.time(), job, restart)

    def has_ended(self) -> bool:
        """Whether it has certainly ended."""
        here = Holder.of_this_process()
        if self.job and self.job == here.job and self.restart != here.restart:
            return True
        return self.machine == here.machine and _start_of(self.pid) != self.started


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _start_of(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if it has ended (proc(5), stat)."""
    try:
        # The name of the program, in brackets, may contain any character.
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(others[18])


def holder(run: Path) -> Holder | None:
    """The process that holds the lock of a run folder; None if there is none."""
    return _read(run / LOCK)


def release(run: Path) -> Holder | None:
    """Remove the lock of a run folder, whoever holds it; return the previous holder."""
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
    """Hold the lock of a run folder, which is created if it does not exist.

    Raises:
        HarnetError: another process holds it.
    """
    made = not run.exists()
    run.mkdir(parents=True, exist_ok=True)
    own = Holder.of_this_process()
    while not _claim(run, own):
        found = holder(run)
        if found is None:
            continue  # released meanwhile
        if not found.has_ended():
            raise _refusal(run, found)
        moved = release(run)
        if moved is not None and moved != found:
            # Another process took it over first.
            _claim(run, moved)
            raise _refusal(run, moved)
    try:
        yield
    finally:
        if holder(run) == own:
            release(run)
        if made:
            with suppress(OSError):  # nothing was written, so leave no empty folder
                run.rmdir()


def _read(folder: Path) -> Holder | None:
    try:
        return Holder(**json.loads((folder / _FILE).read_text()))
    except FileNotFoundError:
        return None


def _claim(run: Path, who: Holder) -> bool:
    """Try to acquire the lock for `who`; return whether it succeeded."""
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
        f"would corrupt each other: wait for it, stop it, or choose another --run.out; if it no longer runs, delete "
        f"{run / LOCK}"
    )
