"""One progress bar for all long work: live on a terminal, whole lines in a log file."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 600.0
"""A stage leaves one line when it ends; only one that takes longer than this leaves more."""


class _Lines(tqdm):
    """A bar for output that is no terminal: every state is a line of its own, none is written over."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """What writes one state; tqdm itself ends the last line. The first state is the empty bar: not written."""
        states = 0

        def write(state: str) -> None:
            nonlocal states
            states += 1
            if states > 1:
                file.write(f"\n{state}" if states > 2 else state)
                file.flush()

        return write


def bar(total: int | None, description: str, unit: str, initial: int = 0, show: bool = True) -> "tqdm[Any]":
    """A progress bar to `update()` by hand; `show=False` on every rank but the first."""
    about: dict[str, Any] = {"total": total, "desc": description, "unit": unit, "initial": initial}
    if not show:  # given only then: TQDM_DISABLE=1 in the environment hides all bars
        about["disable"] = True
    if sys.stderr.isatty():
        return tqdm(**about, dynamic_ncols=True)
    return _Lines(**about, ncols=100, ascii=True, mininterval=_SECONDS_BETWEEN_LOG_LINES)
