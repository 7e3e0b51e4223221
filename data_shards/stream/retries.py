"""Retrying reads after transient storage failures: a restarting server, a hanging mount, a network outage.

Such a failure says nothing about the data, so it must never change what a run reads: reads are retried with back-off,
and if the failure lasts, the run stops; the same command resumes it later.
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
"""Random jitter, so that a thousand processes do not retry at once; independent of all other random draws."""


@dataclass(frozen=True)
class RetryPolicy:
    """Retry policy of a failed read: exponential back-off with jitter."""

    seconds: float = 300.0
    """Total time in seconds from the first failure; the last attempt is made at its end."""
    first_pause: float = 0.5
    """Pause in seconds before the second attempt; doubled before each further one, minus a random half at most."""
    longest_pause: float = 30.0
    """Maximum pause in seconds."""

    def read(
        self,
        read: Callable[[], T],
        named: str,
        before_retry: Callable[[], None] = lambda: None,
        retryable: tuple[type[Exception], ...] = (OSError, Missing),
    ) -> T:
        """`read()`, retried while it raises one of `retryable`; `before_retry` is called before each retry.

        Raises:
            Unreachable: it still fails after `seconds`; the message contains `named`.
        """
        began, pause = None, self.first_pause
        while True:
            try:
                return read()
            except retryable as error:
                problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
            now = time.monotonic()
            if began is None:
                began = now
                if self.seconds:
                    _LOG.warning("%s: %s; retrying for up to %s", named, problem, _words(self.seconds))
            left = began + self.seconds - now
            if left <= 0:
                raise Unreachable(
                    f"{named}: could not be read for {_words(self.seconds)} ({problem}): check that the file exists "
                    "and its file system or server responds; the same command resumes"
                )
            time.sleep(min(left, pause * _JITTER.uniform(0.5, 1)))
            pause = min(2 * pause, self.longest_pause)
            before_retry()


def _words(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
