"""A thread that keeps a few elements ready, so that whoever trains does not wait for the last steps of loading."""

from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Raised:
    """What `next` raised in the thread."""

    error: BaseException


def prefetched(elements: Iterator[T], depth: int) -> Iterator[T]:
    """The same elements, taken by a thread of its own, at most `depth` of them before they are asked for.

    What `elements` raises is raised here, after the elements that came before. The thread takes nothing more once this
    generator is closed or forgotten.
    """
    room, closed = Semaphore(depth), Event()
    queue: SimpleQueue[T | _Raised] = SimpleQueue()
    # A daemon: it may wait for a loader that never answers, and must not keep the interpreter from ending.
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
    except BaseException as error:  # whatever it is, it belongs to the thread that asks
        queue.put(_Raised(error))
