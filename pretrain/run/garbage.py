"""Garbage collection at fixed steps: a collection that delays one rank delays all of them.

A full collection visits every object, of which torch creates hundreds of thousands: some 0.1 s, at a different step on
each rank. So objects that exist at the start are frozen, and young objects are collected by all ranks at the same step.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 100
"""Steps between collections."""


@contextmanager
def manual_collection() -> Iterator[None]:
    """While entered, garbage is only collected by `collect_if_due`."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def collect_if_due(step: int) -> None:
    """Collect young objects, every `EVERY` steps."""
    if step % EVERY == 0:
        gc.collect(1)
