"""What a machine or a cluster needs to train here, looked at one by one; each finding says good, or what to do."""

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
"""Below this, a checkpoint of a large encoder takes longer than a grace time often is."""
SLOW_GB_PER_SECOND = 1.0
"""Below this, the gradients of harnet10 (42 MB) cost more than a step of training on a GPU."""
PROBE_MB = 64


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    """What was looked at."""
    good: bool
    """Whether it is as it should be."""
    text: str
    """What was found; if that is not good, what to do."""

    def __str__(self) -> str:
        return f"{'good' if self.good else 'FIX '}  {self.what}: {self.text}"


def examine(folder: Path, profile: Profile) -> Iterator[Finding]:
    """Everything that can be looked at on this machine; `folder` is where runs are to be written."""
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
                f"there is a driver, but this torch ({torch.__version__}) uses no GPU; install the build for your CUDA"
            )
            yield Finding("CUDA", False, text)
        else:
            yield Finding("CUDA", True, "no GPU on this machine (a login node has none); training here uses the CPU")
        return
    yield Finding("CUDA", True, f"{torch.version.cuda}, torch {torch.__version__}")
    if torch.distributed.is_nccl_available():
        yield Finding("NCCL", True, ".".join(map(str, torch.cuda.nccl.version())))
    else:
        yield Finding("NCCL", False, "this torch has none: processes on GPUs cannot talk; install another build")
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        good = free > 0.8 * total
        text = f"{torch.cuda.get_device_name(number)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        yield Finding(f"GPU {number}", good, text + ("" if good else "; someone else computes on it (nvidia-smi)"))


def _interfaces() -> Finding:
    """Names only; which one training takes is for NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME to say."""
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        chosen = os.environ.get(variable, "")
        if chosen and not chosen.startswith(("^", "=")) and not any(
            name.startswith(part) for part in chosen.split(",") for name in names
        ):  # fmt: skip
            return Finding("network", False, f"{variable} is {chosen}, but there are {', '.join(names)}; change it")
    return Finding("network", bool(names), ", ".join(names) or "none but the loopback; several nodes cannot work")


def _folder(folder: Path) -> Iterator[Finding]:
    parent = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    kind, point = file_system(parent)
    note = ": this machine's own, so for one node only" if kind in LOCAL else ""
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
        yield Finding("run folder", False, f"{parent}: {error.strerror}; give one that you can write to: --folder")
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
        yield Finding("Slurm", True, "not on this machine; train with `harnet pretrain` or torchrun")
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
    yield Finding("Slurm", True, f"{version} answers; {count} idle nodes in {profile.partition or 'all partitions'}")


def over_nodes(profile: Profile, nodes: int, gpus_per_node: int, minutes: int = 5) -> Iterator[Finding]:
    """Wait for nodes and let them reduce a few numbers: do they see Python, and each other, and how fast?"""
    try:
        slurm.require()
        slurm.check_partition(profile.partition)
        slurm.check_gpus(profile.partition, nodes, gpus_per_node)  # srun would wait for ever for nodes that are not
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
        # First what names a cause, then that a task has ended, then anything.
        words = min(done.stderr.splitlines() or ["no output"], key=lambda line: ("rror" not in line, ": task " in line))
        yield Finding(f"{nodes} nodes", False, f"{words.strip()}; {_cure(words)}")
        return
    found = json.loads(lines[-1])
    speed = found["gb_per_second"]
    slow = found["device"] == "cuda" and speed < SLOW_GB_PER_SECOND
    remedy = "; slow: is NCCL on the fast network? NCCL_DEBUG=INFO says which it took" if slow else ""
    text = f"{found['processes']} processes on {found['device']} reduce at {speed:.2f} GB/s{remedy}"
    yield Finding(f"{nodes} nodes", not slow, text)


def _cure(said: str) -> str:
    """What to do when nodes do not work together, from the first words of srun or of a process."""
    if "execve" in said:
        return "the nodes do not see this Python: put the environment on a file system that they all see"
    network = "name the network that joins the nodes by NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in the profile"
    return slurm.remedy(said) or f"if they do not find each other, {network}"
