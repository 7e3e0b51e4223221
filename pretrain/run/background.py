"""Checkpoints are written in the background: copied on the device, then moved to the host and written by a thread."""

from collections.abc import Callable
from threading import Thread
from types import TracebackType
from typing import Any

import torch


class BackgroundWriter:
    """Runs one job at a time in a thread. An exception of the job is raised by the next call of a method.

    On an error in the `with` block it waits for the job, since the checkpoint being written is good. On an interrupt
    it does not: the user does not want to wait, and an incomplete checkpoint is ignored.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def begin(self, work: Callable[[], object]) -> None:
        """Start `work`, after waiting for the previous job."""
        self.finish()
        # A daemon thread: a file system that hangs must not block a process that was asked to stop.
        self._thread = Thread(target=self._run, args=(work,), name="checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise the job's exception if it has failed; does not wait."""
        if self._thread is not None and not self._thread.is_alive():
            self.finish()

    def finish(self) -> None:
        """Wait for the job, and raise its exception if it failed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # re-raised in the training thread
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


class Snapshot:
    """A copy of tensors, in dictionaries, lists and tuples, that training does not change.

    It is made on the tensors' device. On CUDA it is only queued there: the thread that asks for it in host memory
    waits, not the one that trains. Until it is released it takes as much device memory again.
    """

    def __init__(self, value: Any) -> None:
        self._copy = _each(value, lambda tensor: tensor.detach().clone())
        self._device = torch.cuda.current_device() if torch.cuda.is_initialized() else None
        self._copied = None if self._device is None else torch.cuda.current_stream().record_event()

    def on_host(self) -> Any:
        """The copy in host memory; on CUDA it is moved beside the work of the current stream, not behind it."""
        if self._copied is None:
            return self._copy
        with torch.cuda.stream(torch.cuda.Stream(self._device)):
            torch.cuda.current_stream().wait_event(self._copied)
            return _each(self._copy, lambda tensor: tensor.cpu())


def _each(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same structure with `function` applied to its tensors."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _each(one, function) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(one, function) for one in value)
    return value
