"""Python's garbage collector kept from running whenever it likes, which holds up one process and with it all others.

A full collection looks at every object, of which torch makes hundreds of thousands: some 0.1 s, at another step on each
process. So what is there at the start is set aside, and young objects are looked at by all processes at the same step.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 100
"""Steps between collections."""


@contextmanager
def manual_collection() -> Iterator[None]:
    """While entered, garbage is collected by `collect_if_due` alone."""
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
    """Collect young objects, if it is time to."""
    if step % EVERY == 0:
        gc.collect(1)
