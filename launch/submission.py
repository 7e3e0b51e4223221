"""`harnet submit pretrain`: validates everything before submitting."""

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_shards.shards.location import is_remote, local_path
from data_shards.shards.manifest import Manifest
from data_shards.stream.plan import lanes_of, steps_per_epoch
from harnet.errors import HarnetError
from harnet.redaction import redacted
from harnet.run_folder import SLURM, SUBMISSIONS
from launch import records, slurm
from launch.batch import BatchJob, environment_of, gpu_request, module, python, python_of_tasks, refuse_secrets
from launch.profile import Profile
from launch.shared_files import check_shared
from pretrain.config import PretrainConfig, differences
from pretrain.data.loading import open_manifest
from pretrain.run import checkpoint


@dataclass(frozen=True)
class Training:
    """A training run to submit."""

    config: PretrainConfig
    """Configuration of the run."""
    arguments: tuple[str, ...]
    """The same as options of `harnet pretrain`; --config files are expanded, so that editing them does not affect
    queued runs."""
    profile: Profile
    """The site profile."""
    nodes: int
    """Number of nodes to request."""
    min_nodes: int
    """Minimum number of nodes, with which a restart can continue."""
    gpus_per_node: int
    """GPUs per node; 0 trains on CPUs."""
    processes_per_node: int
    """Processes per node; equals the number of GPUs if there are any."""
    max_crashes: int
    """See `launch.job.JobOptions`."""
    max_restarts: int
    """See `launch.job.JobOptions`."""

    @property
    def run(self) -> Path:
        """Run folder."""
        return self.config.run.out.resolve()

    @cached_property
    def manifest(self) -> Manifest:
        """Manifest of the shards."""
        return open_manifest(self.config.data)

    @cached_property
    def planned(self) -> PretrainConfig:
        """The configuration with the run's length in steps."""
        return self.config.in_steps(steps_per_epoch(self.manifest, "train", self.config.order()))

    def batch(self) -> BatchJob:
        """The batch job."""
        job = [
            python(self.profile), *module("launch.job"), str(self.run),
            "--processes-per-node", str(self.processes_per_node),
            "--max-crashes", str(self.max_crashes), "--max-restarts", str(self.max_restarts),
            "--task", shlex.join(python_of_tasks(self.profile)), "--", *self.arguments,
        ]  # fmt: skip
        nodes = str(self.nodes) if self.nodes == self.min_nodes else f"{self.min_nodes}-{self.nodes}"
        # Not ntasks-per-node: for a range of nodes sbatch derives the number of tasks from the minimum, and Slurm then
        # never allocates more.
        more = {"nodes": nodes, "mincpus": str(self.processes_per_node * max(1, self.profile.cpus_per_task))}
        if self.gpus_per_node:
            more["gpus-per-node"] = gpu_request(self.profile, self.gpus_per_node)
        return BatchJob(self.run / SLURM, self.profile, f"harnet-{self.run.name}", job, more)

    def check(self) -> None:
        """Raise a HarnetError for anything that would make the job fail."""
        if not 1 <= self.min_nodes <= self.nodes:
            raise HarnetError(f"--min-nodes is {self.min_nodes}; it must be from 1 to --nodes ({self.nodes})")
        refuse_secrets(self.arguments)
        self._check_order()
        self._check_run_folder()
        slurm.check_partition(self.profile.partition)
        if self.gpus_per_node:
            slurm.check_gpus(self.profile.partition, self.nodes, self.gpus_per_node)
        self._check_shared()
        self.batch().check()

    def _check_shared(self) -> None:
        """Check that all files are on shared file systems: even a one-node job runs on another machine."""
        if slurm.is_single_node():
            return
        data, shared = self.config.data, self.profile.shared
        check_shared("run folder", self.run, shared)
        if not is_remote(data.shards):
            check_shared("shard folder", local_path(data.shards), shared)
        if data.exclude:
            check_shared("list of people", data.exclude, shared)
        check_shared("Python environment", environment_of(self.profile), shared)

    def _check_order(self) -> None:
        order, data = self.config.order(), self.config.data
        for nodes in range(self.min_nodes, self.nodes + 1):
            readers = nodes * self.processes_per_node * max(data.workers, 1)
            try:
                lanes_of(0, readers, order.lanes)
            except HarnetError:
                raise HarnetError(
                    f"data.lanes is {data.lanes} and data.batch is {data.batch}; both must be multiples of {readers}: "
                    f"{nodes} nodes x {self.processes_per_node} processes x {max(data.workers, 1)} loaders"
                ) from None
        steps_per_epoch(self.manifest, "train", order)

    def _check_run_folder(self) -> None:
        if self.run.exists() and not self.run.is_dir():
            raise HarnetError(f"{self.run}: is a file; pass a folder as --run.out")
        submitted = records.entries(self.run, SUBMISSIONS)
        saved = checkpoint.newest(self.run)
        known = saved.metadata["config"] if saved else submitted[-1]["config"] if submitted else None
        changed = differences(known, self.planned.as_dict()) if known else []
        digest = self.manifest.digest
        if saved and saved.metadata["manifest_digest"] != digest:
            changed.append(f"manifest was {saved.metadata['manifest_digest'][:16]}, now {digest[:16]}")
        if changed:
            raise HarnetError(
                f"{self.run}: holds a run with other settings ({'; '.join(changed)}); "
                "use the same settings to resume it, or another --run.out"
            )
        if saved and saved.step >= self.planned.steps:
            raise HarnetError(f"{self.run}: finished, all {saved.step} steps are done; next: `harnet export`")
        for entry in submitted[-1:]:
            job = slurm.job(entry["job"])
            if job and job.alive:
                raise HarnetError(f"{self.run}: in use by job {entry['job']}, {job.state}; see `harnet status`")

    def submit(self) -> str:
        """Submit the job and record it in the run folder; returns the job id."""
        number = self.batch().submit()
        entry = {
            "job": number,
            "config": self.planned.as_dict(),
            "arguments": [redacted(each) for each in self.arguments],
        }
        records.append(self.run, SUBMISSIONS, entry | {"nodes": [self.min_nodes, self.nodes]})
        return number

    def described(self, number: str) -> dict[str, str]:
        """Job id, paths and next command, for people and for scripts."""
        folder = self.run / SLURM
        return {
            "job": number,
            "run": str(self.run),
            "script": str(folder / f"{number}_submission.sh"),
            "log": str(folder / f"{number}.log"),
            "next": f"harnet status {self.config.run.out}",
        }


def as_text(described: dict[str, str], training: Training) -> str:
    """Output of `harnet submit pretrain`."""
    count, unit = training.processes_per_node, "GPUs" if training.gpus_per_node else "processes"
    where = training.profile.partition or "the default partition"
    return "\n".join(
        [
            f"job {described['job']}: {training.nodes} nodes x {count} {unit} on {where}",
            f"script: {described['script']}",
            f"log:    {described['log']}",
            f"follow it with: {described['next']}",
        ]
    )


def as_json(described: dict[str, str]) -> str:
    """The same for scripts."""
    return json.dumps(described, indent=2)
