"""A tiny all-reduce over all processes of a step of Slurm: do the nodes find each other, and how fast are they?

`srun ... python -m launch.allreduce` in a job, or `harnet doctor --nodes N`, which starts that.
"""

import json
import os
import time
from datetime import timedelta
from typing import NoReturn

from harnet.console import exit_with, guarded
from harnet.errors import HarnetError
from launch import slurm

MEGABYTES = 16
"""As large as the gradients of a small encoder, so that bandwidth and not latency is measured."""
ROUNDS = 5
TIMEOUT = timedelta(seconds=60)


def bus_bandwidth(size: int, seconds: float, world: int) -> float:
    """GB/s through each process's link: an all-reduce sends 2 (n - 1) / n times its size (as nccl-tests report it)."""
    return 2 * (world - 1) / world * size / seconds / 1e9


def measure() -> int:
    """Reduce a few times and print, from the first process, the world, the device, seconds and GB/s as JSON."""
    rank, world, local = map(int, slurm.environment("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
    job, nodes = slurm.environment("SLURM_JOB_ID", "SLURM_STEP_NODELIST")
    os.environ["MASTER_ADDR"] = slurm.expand(nodes)[0]
    os.environ["MASTER_PORT"] = str(20000 + int(job) % 20000)
    os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"] = str(rank), str(world), str(local)

    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda and local >= torch.cuda.device_count():
        raise HarnetError(f"process {local} of this node has no GPU: there are {torch.cuda.device_count()}")
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        values = torch.full((MEGABYTES * 2**18,), float(rank), device=device)
        best = float("inf")
        for _ in range(ROUNDS):
            values.fill_(rank)
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(values)
            total = float(values[-1])  # waits for the device, too
            best = min(best, time.perf_counter() - began)
        if total != world * (world - 1) / 2:
            raise HarnetError(
                f"the sum over {world} processes is {total}, not {world * (world - 1) / 2}: faulty network"
            )
    finally:
        dist.destroy_process_group()
    if rank == 0:
        speed = bus_bandwidth(MEGABYTES * 2**20, best, world)
        print(json.dumps({"processes": world, "device": device.type, "seconds": best, "gb_per_second": speed}))
    return 0


def main() -> NoReturn:
    """`python -m launch.allreduce`, as a task of srun."""
    exit_with(lambda: guarded("allreduce", "slurm", measure))


if __name__ == "__main__":
    main()
