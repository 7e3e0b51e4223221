"""The processes of a run: who we are, and the few things that all of them must agree on."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from harnet.errors import HarnetError

TIMEOUT = timedelta(minutes=10)
"""For which a process waits for the others before it gives up: longer than any step, held-out loss or checkpoint. A
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

    def alike(self, text: str) -> bool:
        """Whether all processes were given the same text; every one of them must call it."""
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
        own = torch.tensor(digest, dtype=torch.int64, device=self.device)
        other = own != self.broadcast(own.clone())
        return bool(self.sum(other.float()) == 0)

    def wait(self) -> None:
        """Return once every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[Process]:
    """Join the processes that torchrun or srun started; alone if neither did. NCCL on CUDA, gloo on the CPU.

    Raises:
        HarnetError: CUDA is asked for and absent, or there are more processes on the node than GPUs.
    """
    for name, value in slurm_variables(os.environ).items():
        os.environ.setdefault(name, value)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    process = Process(rank, world, _device(device, int(os.environ.get("LOCAL_RANK", "0"))))
    if world == 1:
        yield process
        return
    cuda = process.device.type == "cuda"
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT, device_id=process.device if cuda else None)
    try:
        yield process
    finally:
        dist.destroy_process_group()


def slurm_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What torch reads, from what srun sets in each task of a step; empty outside one or where torchrun was here.

    A step of one task, such as an interactive shell inside a larger allocation, is a process alone. The processes meet
    on the first node of the step, on a port derived from the job and step, so that two jobs on a node do not collide.
    """
    world = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "RANK" in environment or world == "1":
        return {}
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": world,
        "MASTER_ADDR": _first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(20_000 + (job * 7 + step) % 20_000),
    }


def _first_host(hosts: str) -> str:
    """The first name of a Slurm host list, such as "gpu007" of "gpu[007-009,12],login1"."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\])?([^,\[]*)", hosts)
    if found is None:
        raise HarnetError(f"SLURM_STEP_NODELIST is {hosts!r}: not a list of hosts; set MASTER_ADDR and RANK yourself")
    return "".join(part or "" for part in found.groups())


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
