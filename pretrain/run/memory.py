"""Memory: how much a run uses, and which settings to change when it runs out."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harnet.errors import HarnetError

_CPU_SIGNS = ("can't allocate memory", "not enough memory")
"""Messages of torch's CPU allocator, which raises a plain RuntimeError."""


@contextmanager
def advice_when_out_of_memory(batch: int, accumulate: int, world: int, precision: str) -> Iterator[None]:
    """Turn an out-of-memory error, of GPU or CPU, into one line that says which settings to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(sign in str(error) for sign in _CPU_SIGNS):
            raise
        each = batch // (accumulate * world)
        lighter = "" if precision == "bf16" else ", run.precision bf16"
        raise HarnetError(
            f"out of memory with {each} windows at a time (data.batch {batch} over {world} processes, run.accumulate "
            f"{accumulate}): raise run.accumulate, lower data.batch{lighter}, or use more processes; the last "
            "checkpoint is good, and can only be resumed with another number of processes"
        ) from error


def allocator_troubles(device: torch.device) -> tuple[int, int]:
    """How often torch's GPU allocator had to free its cache and retry, and how often that failed.

    Since the process started; zero on the CPU. Each retry costs milliseconds, and retries precede failures.
    """
    if device.type != "cuda":
        return 0, 0
    counts = torch.cuda.memory_stats(device)
    return counts["num_alloc_retries"], counts["num_ooms"]


def peak_gib(device: torch.device) -> float:
    """Peak memory in GiB: on CUDA, allocated by torch since the last call; otherwise resident size of this process."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
