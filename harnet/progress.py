"""The progress bar of all long-running work: live on a terminal, complete lines in a log file."""

import sys
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 600.0
"""In a log file a stage prints one line when it ends, and one at this interval if it takes longer."""
_LINE = "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class _Lines(tqdm):
    """Progress where output is not a terminal: plain lines, each whole as soon as it is written."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write the current state as a line; the constructor's call, before anything is done, writes none."""
        if hasattr(self, "start_t"):
            self.fp.write(f"{self}\n")
            self.fp.flush()

    def close(self) -> None:
        """Write the final state as a line, once."""
        if not self.disable:
            self.disable = True
            self.display()


def bar(total: int | None, description: str, unit: str, initial: int = 0, show: bool = True) -> "tqdm[Any]":
    """A progress bar to `update()` manually; pass `show=False` on every rank except 0."""
    about: dict[str, Any] = {"total": total, "desc": description, "unit": unit, "initial": initial}
    if not show:  # given only then: TQDM_DISABLE=1 in the environment hides all bars
        about["disable"] = True
    if sys.stderr.isatty():
        return tqdm(**about, dynamic_ncols=True)
    # miniters=1: otherwise tqdm's monitor prints a second line ten seconds after each. smoothing=0: the mean rate.
    about |= {"mininterval": _SECONDS_BETWEEN_LOG_LINES, "miniters": 1, "smoothing": 0}
    return _Lines(**about, bar_format=_LINE if total else None, ncols=1000)
