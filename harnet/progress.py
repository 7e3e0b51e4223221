"""One progress bar for all long work: live on a terminal, a line now and then in a log file."""

import sys
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 10.0


def bar(total: int | None, description: str, unit: str, initial: int = 0, show: bool = True) -> "tqdm[Any]":
    """A progress bar to `update()` by hand; `show=False` on every rank but the first."""
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        initial=initial,
        disable=not show,
        mininterval=0.1 if live else _SECONDS_BETWEEN_LOG_LINES,
        dynamic_ncols=live,
        ncols=None if live else 100,
        ascii=not live,
    )
