"""Storage that fails for a moment: a server that restarts, a mount that hangs, a network that is down.

Such a failure says nothing about the data, so it must never change what a run reads: it is waited for, and if it lasts,
it ends the run, which the same command continues later.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from data_shards.stream.storage import Missing
from harnet.errors import Unreachable

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_JITTER = random.SystemRandom()
"""Pauses differ, so that a thousand processes do not come back at once; no other random draw may notice."""


@dataclass(frozen=True)
class Patience:
    """For how long, and after which pauses, a failed read is tried again."""

    seconds: float = 300.0
    """From the first failure on; the last attempt is made at its end."""
    first_pause: float = 0.5
    """Seconds before the second attempt; twice that before each further one, less up to half of it at random."""
    longest_pause: float = 30.0
    """Seconds."""

    def read(
        self,
        read: Callable[[], T],
        named: str,
        again: Callable[[], None] = lambda: None,
        passing: tuple[type[Exception], ...] = (OSError, Missing),
    ) -> T:
        """`read()`, tried again while it raises what may be `passing`; `again` is called before each further attempt.

        Raises:
            Unreachable: it still fails after `seconds`; the message names `named`.
        """
        began, pause = None, self.first_pause
        while True:
            try:
                return read()
            except passing as error:
                problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
            now = time.monotonic()
            if began is None:
                began = now
                if self.seconds:
                    _LOG.warning("%s: %s; trying again for up to %s", named, problem, _words(self.seconds))
            left = began + self.seconds - now
            if left <= 0:
                raise Unreachable(
                    f"{named}: could not be read for {_words(self.seconds)} ({problem}): see whether the file is there "
                    "and its file system or server answers; the same command continues"
                )
            time.sleep(min(left, pause * _JITTER.uniform(0.5, 1)))
            pause = min(2 * pause, self.longest_pause)
            again()


def _words(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
