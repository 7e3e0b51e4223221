"""The processes of a run: who we are, and the few things that all of them must agree on."""

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
"""For which a process waits for the others before it gives up: longer than any step or held-out loss. A
machine that goes silent does not close its connections, so nothing else would end the wait; gloo's own is 30 min."""


@dataclass(frozen=True)
class Process:
    """One process of the run. Alone, it is rank 0 of 1 and no process group exists."""

    rank: int
    """0 to world - 1 over all nodes."""
    world: int
    """Number of processes."""
    device: torch.device
    """Where this process computes."""
    timeout: timedelta = TIMEOUT
    """For which it waits for the others in an exchange."""

    @property
    def first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise sum over all processes; every one of them must call it."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, values: Tensor) -> Tensor:
        """Overwrite `values` by those of the first process; every process must call it."""
        if self.world > 1:
            dist.broadcast(values, src=0)
        return values

    def broadcast_text(self, text: str) -> str:
        """The text of the first process; every process must call it, the others with anything."""
        if self.world == 1:
            return text
        # As numbers: torch's own way with objects pickles them.
        content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        length = self.broadcast(torch.tensor(len(content), device=self.device))
        told = self.broadcast(content if self.first else content.new_empty(int(length)))
        return bytes(told.tolist()).decode()

    def run_on_first_rank(self, action: Callable[[], object]) -> None:
        """Let the first process do something; if it fails, so do all others, so that none waits for it.

        Raises:
            HarnetError, OSError: what the action raised; a HarnetError on the other processes.
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
        """Whether all processes were given the same text; every one of them must call it."""
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
        own = torch.tensor(digest, dtype=torch.int64, device=self.device)
        other = own != self.broadcast(own.clone())
        return bool(self.sum(other.float()) == 0)

    def barrier(self) -> None:
        """Return once every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def process_group(device: str, timeout: timedelta = TIMEOUT) -> Iterator[Process]:
    """Join the processes that torchrun or srun started; alone if neither did. NCCL on CUDA, gloo on the CPU.

    Raises:
        HarnetError: CUDA is asked for and absent, or there are more processes on the node than GPUs.
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
    # A site may show each process its own GPU and no other, which is number 0 to all of them.
    number = 0 if visible == 1 else local_rank
    if number >= visible:
        raise HarnetError(
            f"process {local_rank} of this node has no GPU: there are {visible}; "
            "start as many processes a node as it has GPUs"
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
            "two processes of a node see the same GPU and no other: start as many processes a node as it has GPUs"
        ) from error
