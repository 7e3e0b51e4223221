"""Exit codes and error lines, the same for every program of this project."""

import io
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from harnet.errors import HarnetError, one_line
from harnet.redaction import redacted

USER_MISTAKE = 1
USAGE = 2
INTERRUPTED = 130


def guarded(program: str, extra: str, action: Callable[[], int]) -> int:
    """Run `action` and return its exit code; user errors print one line to stderr, bugs keep their traceback.

    `extra` is the optional dependency group (`harnet[extra]`) to suggest if a package is missing.
    """
    try:
        return action()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("harnet", "data_shards", "pretrain", "launch"):
            raise
        print(f"{program}: needs the package {error.name!r}: pip install 'harnet[{extra}]'", file=sys.stderr)
    except HarnetError as error:
        print(f"{program}: {one_line(redacted(str(error)))}", file=sys.stderr)
    except OSError as error:
        where = one_line(f"{error.filename}: ") if error.filename else ""
        print(
            f"{program}: {where}{error.strerror or error}; finished work is kept, "
            "fix this and run the same command again",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print(f"{program}: interrupted; finished work is kept, the same command resumes", file=sys.stderr)
        return INTERRUPTED
    return USER_MISTAKE


def exit_with(action: Callable[[], int]) -> NoReturn:
    """Exit the process with the code that `action` returns. SIGTERM, which schedulers send, acts like Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: paths may hold bytes that are not text
    code = action()
    sys.stdout.flush()
    sys.exit(code)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
