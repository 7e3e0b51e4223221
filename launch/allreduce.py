"""A small all-reduce over all processes of a Slurm job step: can the nodes reach each other, and at what bandwidth?

Run `srun ... python -m launch.allreduce` in a job, or `harnet doctor --nodes N`, which does so.
"""

import json
import time
from datetime import timedelta
from typing import NoReturn

from harnet.console import exit_with, guarded
from harnet.errors import HarnetError
from launch import slurm

MEGABYTES = 16
"""Message size: that of the gradients of a small encoder, so that bandwidth rather than latency is measured."""
ROUNDS = 5
TIMEOUT = timedelta(seconds=60)


def bus_bandwidth(size: int, seconds: float, world: int) -> float:
    """Bus bandwidth in GB/s, as nccl-tests define it: an all-reduce sends 2 (n - 1) / n times its size per link.

    `size` is in bytes, `seconds` the time of one all-reduce, `world` the world size n.
    """
    return 2 * (world - 1) / world * size / seconds / 1e9


def measure() -> int:
    """Run a few all-reduces; rank 0 prints the world size, device, seconds and GB/s as JSON. Returns the exit code."""
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
            total = float(process.sum(values)[-1])  # also synchronises the device
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
    """Entry point of `python -m launch.allreduce`, run as an srun task."""
    exit_with(lambda: guarded("allreduce", "train", measure))


if __name__ == "__main__":
    main()
