"""A tiny all-reduce over all processes of a step of Slurm: do the nodes find each other, and how fast are they?

`srun ... python -m launch.allreduce` in a job, or `harnet doctor --nodes N`, which starts that.
"""

import json
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
    slurm.environment("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_STEP_NODELIST")

    import torch

    from pretrain.parallel.distributed import process_group

    with process_group("auto", TIMEOUT) as process:
        world, values = process.world, torch.empty(MEGABYTES * 2**18, device=process.device)
        best = float("inf")
        for _ in range(ROUNDS):
            values.fill_(process.rank)
            process.barrier()
            began = time.perf_counter()
            total = float(process.sum(values)[-1])  # waits for the device, too
            best = min(best, time.perf_counter() - began)
        if total != world * (world - 1) / 2:
            raise HarnetError(
                f"the sum over {world} processes is {total}, not {world * (world - 1) / 2}: faulty network"
            )
    if process.first:
        speed = bus_bandwidth(MEGABYTES * 2**20, best, world)
        print(json.dumps({"processes": world, "device": process.device.type, "seconds": best, "gb_per_second": speed}))
    return 0


def main() -> NoReturn:
    """`python -m launch.allreduce`, as a task of srun."""
    exit_with(lambda: guarded("allreduce", "slurm", measure))


if __name__ == "__main__":
    main()
