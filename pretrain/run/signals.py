"""Stop requests: signals set a flag here, and the loop stops once all ranks have agreed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """While entered, SIGINT, SIGTERM and SIGUSR2 only set a flag; no checkpoint is written from a signal handler.

    A second SIGINT interrupts at once, for a user who does not want to wait.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.requested and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def signals_blocked_in_children() -> Iterator[None]:
    """Processes started inside (fork server, resource tracker, loader workers) ignore stop requests.

    Slurm and terminals signal the whole process group, and a loader that dies would prevent the last step and its
    checkpoint. A signal handler does not survive exec, but a signal mask does. A signal that arrives here meanwhile is
    delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, StopRequest.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
