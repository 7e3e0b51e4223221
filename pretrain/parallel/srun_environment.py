"""Translates the environment variables of srun into those of torch.distributed; the only place that knows both.

submitit offers this as `TorchDistributedEnvironment`. It is not used because training must run without submitit, from
a plain batch script or a container. Nothing here imports torch.
"""

import re
from collections.abc import Mapping


def torch_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, LOCAL_RANK, WORLD_SIZE and the rendezvous of a task of srun, except variables that are already set.

    Empty outside a Slurm step, and under torchrun. A step of one task, such as an interactive shell inside a larger
    allocation, is a single process. The rendezvous is on the first node of the step, on a port derived from job and
    step, so that two jobs on a node do not collide.
    """
    world = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "RANK" in environment or world == "1":
        return {}
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    found = {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": world,
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(20_000 + (job * 7 + step) % 20_000),
    }
    return {name: value for name, value in found.items() if name not in environment}


def first_host(hosts: str) -> str:
    """The first name of a Slurm host list: "gpu007" of "gpu[007-009,12],login1", "r1n3" of "r[1-2]n[3-4]"."""
    return re.sub(r"\[([^,\-\]]+)[^\]]*\]", r"\1", hosts).partition(",")[0]
