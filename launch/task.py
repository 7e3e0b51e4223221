"""One training process inside a job; `srun` starts one per GPU. It is `python -m pretrain` with finer exit codes.

The supervisor must know whether to restart, but srun returns only the largest exit code of all tasks. So the codes are
ordered: a non-retryable error is larger than the crashes that it causes in other tasks, and smaller than death by a
signal, which is 128 or more.
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
"""Python's exit code for an uncaught exception: a lost peer, a driver error, a bug. Retryable."""
NON_RETRYABLE = 78
"""Non-retryable: invalid settings, damaged data, a full disk. EX_CONFIG of sysexits.h."""

NON_RETRYABLE_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EFBIG)
"""Non-retryable errors of the operating system. Others, such as those of a restarting file server, may be transient."""


class Crash(Exception):
    """A retryable error; keeps its traceback."""


def train_as_task(folder: Path, arguments: Sequence[str]) -> int:
    """Train as an srun task; returns exit code 0, 130 or `NON_RETRYABLE`, or raises.

    A failing process records its reason in the run folder, because the largest exit code may come from another process
    that was killed while waiting for this one.
    """
    try:
        code = guarded("pretrain", "train", lambda: _attempt(folder, arguments))
    except SystemExit as usage:  # from the option parser, which has printed what is wrong
        code = int(usage.code or 0)
        if code:
            _record_reason(folder, NON_RETRYABLE, "invalid options; see the log")
    except Exception as error:
        _record_reason(folder, CRASHED, f"{type(error).__name__}: {error}")
        raise
    return NON_RETRYABLE if code in (USER_MISTAKE, USAGE) else code


def _attempt(folder: Path, arguments: Sequence[str]) -> int:
    try:
        return _run(folder, arguments)
    except (HarnetError, ModuleNotFoundError, OSError) as error:
        # The errors that `guarded` reports in one line; they are not retryable.
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        text = (isinstance(error, OSError) and error.strerror) or str(error)
        _record_reason(folder, NON_RETRYABLE, f"{where}{text}")
        raise


def _record_reason(folder: Path, code: int, text: str) -> None:
    """Record the reason for the job's supervisor; if that fails too, the log and the exit code remain."""
    rank = int(os.environ["SLURM_PROCID"])
    line = (text.strip().splitlines() or ["no reason given"])[0]
    if not folder.is_dir():
        return  # creating it would only create it on this node's local disk
    with suppress(OSError):
        records.write_reason(folder, start_name(os.environ), records.Reason(rank, code, line, time.time()))


def start_name(environment: Mapping[str, str]) -> str:
    """Identifier of this start of the job, the same for all its processes."""
    return f"{environment['SLURM_JOB_ID']}-{environment.get('SLURM_RESTART_COUNT', '0')}"


def _run(folder: Path, arguments: Sequence[str]) -> int:
    if not folder.is_dir():
        raise HarnetError(
            f"{folder}: does not exist on {socket.gethostname()}; the run folder must be on a file system that all "
            "nodes see"
        )
    from pretrain.command import Command

    try:
        return Command.parse("pretrain", arguments).run()
    except Unreachable as error:
        raise Crash(str(error)) from None
    except OSError as error:
        if error.errno in NON_RETRYABLE_ERRNO:
            raise
        raise Crash(str(error)) from error


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point: `python -m launch.task FOLDER OPTIONS...`."""
    # Before slow imports: until the training loop installs its handlers, a stop request acts like Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, _stop)
    try:
        code = train_as_task(Path(sys.argv[1]), sys.argv[2:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
