"""A process pool that survives killed workers: it finds the item that kills them and processes the rest.

When a worker is killed, `concurrent.futures` breaks the whole pool and cannot tell which item caused it. The items in
flight are therefore retried one at a time, each in a new process, and a new pool takes the rest.
"""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from harnet.errors import HarnetError

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

Placed = tuple[int, Item]
"""An item's index, and the item."""

# Spawned, not forked: forking a process that has threads (torch, Blosc) can deadlock the child.
_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Killed:
    """Result of an item whose process died while nothing else was running."""

    how: str
    """Human-readable, such as "killed by SIGSEGV (a fault in native code?)"."""


def map_unordered(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[int, Result | Killed]]:
    """Yield (index, work(item)) from `workers` processes, in order of completion.

    An exception in `work` is raised here, after running items have ended; the rest are dropped.

    Raises:
        HarnetError: worker processes cannot be started.
    """
    waiting = deque(enumerate(items))
    while waiting:
        in_flight = yield from _run_until_one_is_killed(work, waiting, workers)
        if in_flight:
            log.warning("a worker was killed; the %d items in flight are retried, one at a time", len(in_flight))
        for place, item in in_flight:
            yield place, _run_alone(work, item)


def _run_until_one_is_killed(
    work: Callable[[Item], Result], waiting: deque[Placed[Item]], workers: int
) -> Generator[tuple[int, Result], None, list[Placed[Item]]]:
    """Process `waiting`; returns the items that were in flight when a worker died, none if none did."""
    in_flight: dict[Future[Result], Placed[Item]] = {}
    with ProcessPoolExecutor(min(workers, len(waiting)), _context, initializer=exit_with_parent) as pool:
        broken = False
        while in_flight or waiting:
            # No more items in flight than workers, so that few are suspects when one dies.
            while waiting and len(in_flight) < workers and not broken:
                try:
                    in_flight[pool.submit(work, waiting[0][1])] = waiting[0]
                    waiting.popleft()
                except BrokenProcessPool:
                    broken = True
            finished, _ = wait(in_flight, return_when="ALL_COMPLETED" if broken else FIRST_COMPLETED)
            for future in finished:
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                else:
                    yield in_flight.pop(future)[0], future.result()
            if broken and all(future.done() for future in in_flight):
                return sorted(in_flight.values(), key=lambda placed: placed[0])
    return []


def _run_alone(work: Callable[[Item], Result], item: Item) -> Result | Killed:
    """`work(item)` in its own process."""
    receiving, sending = _context.Pipe(duplex=False)
    process = _context.Process(target=_send_result, args=(work, item, sending))
    process.start()
    sending.close()
    begun, sent = False, None
    try:
        begun = receiving.recv()
        sent = receiving.recv()
    except EOFError:
        pass
    finally:
        process.join()
        receiving.close()
    if not begun:
        raise HarnetError(f"worker processes exit before they start (exit code {process.exitcode}); a script that "
                          "starts them needs `if __name__ == '__main__':`")  # fmt: skip
    if sent is None:
        return Killed(_describe_exit(process.exitcode or 0))
    result, error = sent
    if error is not None:
        raise error
    return result


def _send_result(work: Callable[[Any], Any], item: Any, sending: Connection) -> None:
    """In the child process: signal that it has started, then send (result, None) or (None, exception)."""
    exit_with_parent()
    sending.send(True)
    sent: tuple[Any, BaseException | None]
    try:
        sent = (work(item), None)
    except BaseException as error:
        error.add_note(traceback.format_exc())
        sent = (None, error)
    sending.send(sent)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    guess = "out of memory?" if -code == signal.SIGKILL else "a fault in native code?"
    return f"killed by {name} ({guess})"


def exit_with_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and exit when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
