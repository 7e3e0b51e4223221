"""Prefetching by a thread, so that training and inference do not wait for the last steps of loading."""

from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Raised:
    """The exception that `next` raised in the thread."""

    error: BaseException


def prefetched(elements: Iterator[T], depth: int) -> Iterator[T]:
    """The same elements, prefetched by a thread, at most `depth` of them ahead.

    An exception of `elements` is raised here, after the elements that preceded it. The thread stops once this
    generator is closed or garbage-collected.
    """
    room, closed = Semaphore(depth), Event()
    queue: SimpleQueue[T | _Raised] = SimpleQueue()
    # A daemon thread: it may wait for a loader that never answers, and must not block interpreter exit.
    Thread(target=_take, args=(elements, room, closed, queue), daemon=True).start()
    try:
        while True:
            found = queue.get()
            if isinstance(found, _Raised):
                if isinstance(found.error, StopIteration):
                    return
                raise found.error
            room.release()
            yield found
    finally:
        closed.set()
        room.release()


def _take(elements: Iterator[T], room: Semaphore, closed: Event, queue: "SimpleQueue[T | _Raised]") -> None:
    try:
        while room.acquire() and not closed.is_set():
            queue.put(next(elements))
    except BaseException as error:  # re-raised in the consuming thread
        queue.put(_Raised(error))
