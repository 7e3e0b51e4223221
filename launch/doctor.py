"""Checks of what training needs on a machine or cluster; each finding is good, or says what to do."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harnet.errors import HarnetError
from launch import slurm
from launch.batch import module, python_of_tasks
from launch.profile import Profile
from launch.shared_files import LOCAL, file_system

SLOW_MB_PER_SECOND = 100.0
"""Below this, a checkpoint of a large encoder may take longer than the grace time of a preempted job."""
SLOW_GB_PER_SECOND = 1.0
"""Below this, the all-reduce of harnet10's gradients (42 MB) takes longer than a training step on a GPU."""
PROBE_MB = 64


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    """What was checked."""
    good: bool
    """Whether the check passed."""
    text: str
    """What was found and, if the check failed, what to do."""

    def __str__(self) -> str:
        return f"{'good' if self.good else 'FIX '}  {self.what}: {self.text}"


def examine(folder: Path, profile: Profile) -> Iterator[Finding]:
    """All checks that need only this machine; `folder` is where runs will be written."""
    yield _python()
    yield from _packages()
    yield from _gpus()
    yield _interfaces()
    yield from _folder(folder)
    yield from _slurm(profile)


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding("Python", good, platform.python_version() + ("" if good else "; install 3.11 or later"))


def _packages() -> Iterator[Finding]:
    for name, extra in (("torch", ""), ("numpy", ""), ("tensorboard", "train"), ("submitit", "train")):
        try:
            yield Finding(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, False, f"not installed; pip install 'harnet{f'[{extra}]' if extra else ''}'")


def _gpus() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    driver = shutil.which("nvidia-smi") is not None
    if not torch.cuda.is_available():
        if driver:
            text = (
                f"there is a driver, but this torch ({torch.__version__}) cannot use it; install the build for your "
                "CUDA version"
            )
            yield Finding("CUDA", False, text)
        else:
            yield Finding("CUDA", True, "no GPU on this machine (a login node has none); training here uses the CPU")
        return
    yield Finding("CUDA", True, f"{torch.version.cuda}, torch {torch.__version__}")
    if torch.distributed.is_nccl_available():
        yield Finding("NCCL", True, ".".join(map(str, torch.cuda.nccl.version())))
    else:
        yield Finding("NCCL", False, "missing in this torch, so GPUs cannot communicate; install another build")
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        good = free > 0.8 * total
        text = f"{torch.cuda.get_device_name(number)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        yield Finding(f"GPU {number}", good, text + ("" if good else "; another process is using it (nvidia-smi)"))


def _interfaces() -> Finding:
    """Network interfaces; NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME select the ones that training uses."""
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        chosen = os.environ.get(variable, "")
        if chosen and not chosen.startswith(("^", "=")) and not any(
            name.startswith(part) for part in chosen.split(",") for name in names
        ):  # fmt: skip
            return Finding("network", False, f"{variable} is {chosen}, but the interfaces are {', '.join(names)}; "
                           "change it")  # fmt: skip
    return Finding("network", bool(names), ", ".join(names) or "only loopback; multi-node training is impossible")


def _folder(folder: Path) -> Iterator[Finding]:
    parent = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    kind, point = file_system(parent)
    note = ": a local disk, so only for one node" if kind in LOCAL else ""
    probe = parent / f".harnet-doctor-{os.getpid()}"
    try:
        began = time.perf_counter()
        with probe.open("wb") as file:
            for _ in range(PROBE_MB):
                file.write(os.urandom(2**20))
            file.flush()
            os.fsync(file.fileno())
        speed = PROBE_MB * 2**20 / 1e6 / (time.perf_counter() - began)
    except OSError as error:
        yield Finding("run folder", False, f"{parent}: {error.strerror}; pass a writable folder with --folder")
        return
    finally:
        if probe.exists():
            probe.unlink()
    yield Finding("run folder", True, f"{parent} is writable, {kind} at {point}{note}")
    slow = (
        "" if speed >= SLOW_MB_PER_SECOND else "; slow: checkpoints will take long, raise signal_seconds in the profile"
    )
    yield Finding("write speed", not slow, f"{speed:.0f} MB/s{slow}")


def _slurm(profile: Profile) -> Iterator[Finding]:
    try:
        slurm.require()
    except HarnetError:
        yield Finding("Slurm", True, "not installed here; train with `harnet pretrain` or torchrun")
        return
    try:
        version = slurm.run_command("sinfo", "--version").strip()
        slurm.check_partition(profile.partition)
        where = [f"--partition={profile.partition}"] if profile.partition else []
        idle = slurm.run_command("sinfo", "--noheader", "--states=idle", "--format=%D", *where).split()
    except HarnetError as error:
        yield Finding("Slurm", False, str(error))
        return
    count = sum(int(number) for number in idle)
    yield Finding("Slurm", True, f"{version} responds; {count} idle nodes in {profile.partition or 'all partitions'}")


def over_nodes(profile: Profile, nodes: int, gpus_per_node: int, minutes: int = 5) -> Iterator[Finding]:
    """Run a small all-reduce over `nodes` nodes: can they run Python, reach each other, and at what bandwidth?

    Waits in the queue for the nodes.
    """
    try:
        slurm.require()
        slurm.check_partition(profile.partition)
        slurm.check_gpus(profile.partition, nodes, gpus_per_node)  # srun would hang if there are no such nodes
    except HarnetError as error:
        yield Finding(f"{nodes} nodes", False, str(error))
        return
    chosen = {"partition": profile.partition, "account": profile.account, "qos": profile.qos}
    chosen |= {"constraint": profile.constraint, "gpus-per-node": str(gpus_per_node or "")}
    fixed = [f"--nodes={nodes}", f"--ntasks-per-node={gpus_per_node or 1}", f"--time={minutes}", "--kill-on-bad-exit=1"]
    flags = [f"--{name}={value}" for name, value in chosen.items() if value]
    done = subprocess.run(
        ["srun", *fixed, *flags, *python_of_tasks(profile), *module("launch.allreduce")],
        env=os.environ | profile.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        # Prefer a line that names a cause, then one that says a task ended, then any line.
        words = min(done.stderr.splitlines() or ["no output"], key=lambda line: ("rror" not in line, ": task " in line))
        yield Finding(f"{nodes} nodes", False, f"{words.strip()}; {_advice(words)}")
        return
    found = json.loads(lines[-1])
    speed = found["gb_per_second"]
    slow = found["device"] == "cuda" and speed < SLOW_GB_PER_SECOND
    remedy = "; slow: is NCCL using the fast network? NCCL_DEBUG=INFO shows which" if slow else ""
    text = f"{found['processes']} processes on {found['device']}: all-reduce at {speed:.2f} GB/s{remedy}"
    yield Finding(f"{nodes} nodes", not slow, text)


def _advice(said: str) -> str:
    """Advice for a failed multi-node check, given an error line of srun or of a process."""
    if "execve" in said:
        return "the nodes cannot find this Python: put the environment on a shared file system"
    network = "set NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in the profile to the network that connects them"
    return slurm.remedy(said) or f"if the nodes cannot reach each other, {network}"
