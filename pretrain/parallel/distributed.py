"""The process group of a run: rank, world size, device, and the few collectives that the run needs."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from harnet.errors import HarnetError
from pretrain.parallel.srun_environment import torch_variables

TIMEOUT = timedelta(minutes=10)
"""Timeout of collectives: longer than any step or evaluation takes. A machine that goes silent does not close its
connections, so without a timeout the others would hang; gloo's default is 30 min."""


@dataclass(frozen=True)
class Process:
    """This process of the run. A single process is rank 0 of world size 1, without a process group."""

    rank: int
    """0 to world - 1, over all nodes."""
    world: int
    """World size: number of processes."""
    device: torch.device
    """Device of this rank."""
    timeout: timedelta = TIMEOUT
    """Timeout of collectives."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """All-reduce in place: element-wise sum over all ranks; every rank must call it."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, values: Tensor) -> Tensor:
        """Overwrite `values` with those of rank 0; every rank must call it."""
        if self.world > 1:
            dist.broadcast(values, src=0)
        return values

    def broadcast_text(self, text: str) -> str:
        """The text that rank 0 passes; every rank must call it, and what the others pass is ignored."""
        if self.world == 1:
            return text
        # Sent as bytes, because torch's broadcast of objects pickles them.
        content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        length = self.broadcast(torch.tensor(len(content), device=self.device))
        told = self.broadcast(content if self.first else content.new_empty(int(length)))
        return bytes(told.tolist()).decode()

    def run_on_first_rank(self, action: Callable[[], object]) -> None:
        """Run `action` on rank 0; if it fails, all ranks fail, so that none of them hangs.

        Raises:
            HarnetError, OSError: on rank 0, what the action raised; on the others, a HarnetError with its message.
        """
        failed: HarnetError | OSError | None = None
        if self.first:
            try:
                action()
            except (HarnetError, OSError) as error:
                failed = error
        problem = self.broadcast_text(str(failed or ""))
        if failed is not None:
            raise failed
        if problem:
            raise HarnetError(problem)

    def same_on_all_ranks(self, text: str) -> bool:
        """Whether all ranks passed the same text; every rank must call it."""
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
        own = torch.tensor(digest, dtype=torch.int64, device=self.device)
        other = own != self.broadcast(own.clone())
        return bool(self.sum(other.float()) == 0)

    def barrier(self) -> None:
        """Wait until every rank has reached this point."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def process_group(device: str, timeout: timedelta = TIMEOUT) -> Iterator[Process]:
    """Join the process group of torchrun or srun; without either, a single process. NCCL on CUDA, gloo on the CPU.

    Raises:
        HarnetError: CUDA is requested but not available, or the node has more processes than GPUs.
    """
    os.environ.update(torch_variables(os.environ))
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    process = Process(rank, world, _device(device, int(os.environ.get("LOCAL_RANK", "0"))), timeout)
    if world == 1:
        yield process
        return
    _join(process)
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
    visible = torch.cuda.device_count()
    # A site may make only one GPU visible to each process, which is then device 0 for all of them.
    number = 0 if visible == 1 else local_rank
    if number >= visible:
        raise HarnetError(
            f"local rank {local_rank} has no GPU: the node has {visible}; start at most one process per GPU"
        )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device


def _join(process: Process) -> None:
    cuda = process.device.type == "cuda"
    device = process.device if cuda else None
    try:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=process.timeout, device_id=device)
    except dist.DistBackendError as error:
        if "Duplicate GPU" not in str(error):
            raise
        raise HarnetError(
            "two processes of a node share its only visible GPU: start at most one process per GPU"
        ) from error
