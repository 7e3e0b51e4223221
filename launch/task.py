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
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from harnet.console import INTERRUPTED, USAGE, USER_MISTAKE, guarded
from harnet.errors import HarnetError, Unreachable

CRASHED = 1
"""Python's own for an exception that nobody expected: a lost peer, a driver, a bug. May go better next time."""
MISTAKE = 78
"""It would only come again: wrong settings, damaged data, a full disk. EX_CONFIG of sysexits.h."""

LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EFBIG)
"""Errors of the operating system that waiting does not cure. Others (a file server that restarts) may pass."""


class Crash(Exception):
    """An error that may pass; keeps its traceback."""


def train(folder: Path, arguments: Sequence[str]) -> int:
    """Train as process SLURM_PROCID of SLURM_NTASKS; the code is 0, 130 or `MISTAKE`, or an exception ends it."""
    os.environ["RANK"] = os.environ["SLURM_PROCID"]
    os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
    os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
    try:
        code = guarded("pretrain", "pretrain", lambda: _attempt(folder, arguments))
    except SystemExit as usage:  # of the option parser, which has said what is wrong
        code = int(usage.code or 0)
    return MISTAKE if code in (USER_MISTAKE, USAGE) else code


def _attempt(folder: Path, arguments: Sequence[str]) -> int:
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
