"""One process of a training run inside a job: `srun` starts one a GPU. It is `python -m pretrain`, and says more by its
exit code.

Whoever started it must know whether to start it again, and srun passes on nothing but the largest exit code of all
processes. So these are in order: what is final lies above what others die of because of it, and below death by a
signal, which is 128 and more.
"""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from harnet.console import INTERRUPTED, USAGE, USER_MISTAKE, guarded
from harnet.errors import HarnetError, Unreachable
from launch import records

CRASHED = 1
"""Python's own for an exception that nobody expected: a lost peer, a driver, a bug. May go better next time."""
MISTAKE = 78
"""It would only come again: wrong settings, damaged data, a full disk. EX_CONFIG of sysexits.h."""

LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EFBIG)
"""Errors of the operating system that waiting does not cure. Others (a file server that restarts) may pass."""


class Crash(Exception):
    """An error that may pass; keeps its traceback."""


def train(folder: Path, arguments: Sequence[str]) -> int:
    """Train as a task of srun; the code is 0, 130 or `MISTAKE`, or an exception ends it.

    A process that fails leaves its reason in the run folder: the largest code of all processes may be that of another,
    which was killed while it waited for this one.
    """
    try:
        code = guarded("pretrain", "pretrain", lambda: _attempt(folder, arguments))
    except SystemExit as usage:  # of the option parser, which has said what is wrong
        code = int(usage.code or 0)
        if code:
            _leave(folder, MISTAKE, "the options are wrong; the log says which")
    except Exception as error:
        _leave(folder, CRASHED, f"{type(error).__name__}: {error}")
        raise
    return MISTAKE if code in (USER_MISTAKE, USAGE) else code


def _attempt(folder: Path, arguments: Sequence[str]) -> int:
    try:
        return _run(folder, arguments)
    except (HarnetError, ModuleNotFoundError, OSError) as error:
        # As `guarded` has it: these are mistakes, and only come again.
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        text = (isinstance(error, OSError) and error.strerror) or str(error)
        _leave(folder, MISTAKE, f"{where}{text}")
        raise


def _leave(folder: Path, code: int, text: str) -> None:
    """Note the reason where the job's own process looks; the log and the exit code are left if that fails too."""
    rank = int(os.environ["SLURM_PROCID"])
    line = (text.strip().splitlines() or ["no reason given"])[0]
    if not folder.is_dir():
        return  # it would only be made on a disk that nobody else sees
    with suppress(OSError):
        records.write_reason(folder, start_name(os.environ), records.Reason(rank, code, line, time.time()))


def start_name(environment: Mapping[str, str]) -> str:
    """Of this start of this job, for all of its processes."""
    return f"{environment['SLURM_JOB_ID']}-{environment.get('SLURM_RESTART_COUNT', '0')}"


def _run(folder: Path, arguments: Sequence[str]) -> int:
    if not folder.is_dir():
        raise HarnetError(
            f"{folder}: not there on {socket.gethostname()}; the run folder must be on a file system that all nodes see"
        )
    from pretrain.command import Command

    try:
        return Command.parse("pretrain", arguments).run()
    except Unreachable as error:
        raise Crash(str(error)) from None
    except OSError as error:
        if error.errno in LASTING:
            raise
        raise Crash(str(error)) from error


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """`python -m launch.task FOLDER OPTIONS...`."""
    # Before anything slow: until the loop takes over, being asked to stop is nothing worse than being interrupted.
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, _stop)
    try:
        code = train(Path(sys.argv[1]), sys.argv[2:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
