"""Checkpoints are written while training goes on: copied to the host first, then written by a thread."""

from collections.abc import Callable
from threading import Thread
from types import TracebackType
from typing import Any

import torch


class BackgroundWriter:
    """One piece of work at a time in a thread of its own. What it raises is raised by the next call here.

    Left by an error, it lets the work end first: the checkpoint that is being written is good. Left by an interrupt it
    does not: nobody wants to wait, and half a checkpoint does not count.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def begin(self, work: Callable[[], object]) -> None:
        """Start `work`, after waiting for the end of what was started before."""
        self.finish()
        # A daemon: a file system that hangs must not keep a process from ending that was asked to.
        self._thread = Thread(target=self._run, args=(work,), name="checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what went wrong so far; no waiting."""
        if self._thread is not None and not self._thread.is_alive():
            self.finish()

    def finish(self) -> None:
        """Wait for the end of what was started, and raise what went wrong in it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # whatever it is, it belongs to the thread that trains
            self._error = error

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif self._thread is not None and not issubclass(kind, KeyboardInterrupt):
            self._thread.join()


def on_host(value: Any) -> Any:
    """A copy that training does not change: tensors, in dictionaries, lists and tuples, in memory of the host."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_host(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(on_host(one) for one in value)
    return value
