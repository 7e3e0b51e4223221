"""The progress bar of all long-running work: live on a terminal, complete lines in a log file."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 600.0
"""In a log file a stage prints one line when it ends, and one at this interval if it takes longer."""


class _Lines(tqdm):
    """A bar for output that is not a terminal: each update is a line of its own, nothing is overwritten."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Return the function that writes one update; tqdm ends the last line. The initial empty bar is skipped."""
        states = 0

        def write(state: str) -> None:
            nonlocal states
            states += 1
            if states > 1:
                file.write(f"\n{state}" if states > 2 else state)
                file.flush()

        return write


def bar(total: int | None, description: str, unit: str, initial: int = 0, show: bool = True) -> "tqdm[Any]":
    """A progress bar to `update()` manually; pass `show=False` on every rank except 0."""
    about: dict[str, Any] = {"total": total, "desc": description, "unit": unit, "initial": initial}
    if not show:  # given only then: TQDM_DISABLE=1 in the environment hides all bars
        about["disable"] = True
    if sys.stderr.isatty():
        return tqdm(**about, dynamic_ncols=True)
    return _Lines(**about, ncols=100, ascii=True, mininterval=_SECONDS_BETWEEN_LOG_LINES)
