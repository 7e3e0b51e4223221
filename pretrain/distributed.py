"""The processes of a run: who we are, and the few things that all of them must agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from harnet.errors import HarnetError


@dataclass(frozen=True)
class Process:
    """One process of the run. Alone, it is rank 0 of 1 and no process group exists."""

    rank: int
    """0 to world - 1 over all nodes."""
    world: int
    """Number of processes."""
    device: torch.device
    """Where this process computes."""

    @property
    def first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise sum over all processes; every one of them must call it."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return once every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[Process]:
    """Join the processes that torchrun (or srun with its variables) started; alone without RANK and WORLD_SIZE.

    NCCL on CUDA, gloo on the CPU.

    Raises:
        HarnetError: CUDA is asked for and absent, or there are more processes on the node than GPUs.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    process = Process(rank, world, _device(device, int(os.environ.get("LOCAL_RANK", "0"))))
    if world == 1:
        yield process
        return
    cuda = process.device.type == "cuda"
    dist.init_process_group("nccl" if cuda else "gloo", device_id=process.device if cuda else None)
    try:
        yield process
    finally:
        dist.destroy_process_group()


def _device(wanted: str, local_rank: int) -> torch.device:
    available = torch.cuda.is_available()
    if wanted == "cpu" or (wanted == "auto" and not available):
        return torch.device("cpu")
    if not available:
        raise HarnetError("run.device is cuda, but torch sees no CUDA device here; use --run.device cpu")
    if local_rank >= torch.cuda.device_count():
        raise HarnetError(
            f"process {local_rank} of this node has no GPU: there are {torch.cuda.device_count()}; "
            "start as many processes a node as it has GPUs"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
