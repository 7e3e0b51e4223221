"""`harnet submit pretrain`: everything that can be wrong is found before anything is queued."""

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
from launch.batch import BatchJob, environment_of, gpus_asked_for, module, python, python_of_tasks, refuse_secrets
from launch.profile import Profile
from launch.shared_files import check_shared
from pretrain.config import PretrainConfig, differences
from pretrain.data.loading import open_manifest
from pretrain.run import checkpoint


@dataclass(frozen=True)
class Training:
    """A training run to submit."""

    config: PretrainConfig
    """What is trained."""
    arguments: tuple[str, ...]
    """The same, as options of `harnet pretrain`; a --config file spelt out, so that changing it changes no run that is
    queued."""
    profile: Profile
    """The site."""
    nodes: int
    """Nodes to ask for."""
    min_nodes: int
    """Nodes that will do, if the others are lost."""
    gpus_per_node: int
    """0 trains on CPUs."""
    processes_per_node: int
    """As many as GPUs, if there are any."""
    max_crashes: int
    """See JobOptions."""
    max_restarts: int
    """See JobOptions."""

    @property
    def run(self) -> Path:
        """Run folder."""
        return self.config.run.out.resolve()

    @cached_property
    def manifest(self) -> Manifest:
        """What is trained on."""
        return open_manifest(self.config.data)

    @cached_property
    def planned(self) -> PretrainConfig:
        """The configuration with its length in steps."""
        return self.config.in_steps(steps_per_epoch(self.manifest, "train", self.config.order()))

    def batch(self) -> BatchJob:
        """The job."""
        job = [
            python(self.profile), *module("launch.job"), str(self.run),
            "--processes-per-node", str(self.processes_per_node),
            "--max-crashes", str(self.max_crashes), "--max-restarts", str(self.max_restarts),
            "--task", shlex.join(python_of_tasks(self.profile)), "--", *self.arguments,
        ]  # fmt: skip
        nodes = str(self.nodes) if self.nodes == self.min_nodes else f"{self.min_nodes}-{self.nodes}"
        # Not ntasks-per-node: for a range of nodes sbatch makes of it the tasks of the fewest, and Slurm gives no more.
        more = {"nodes": nodes, "mincpus": str(self.processes_per_node * max(1, self.profile.cpus_per_task))}
        if self.gpus_per_node:
            more["gpus-per-node"] = gpus_asked_for(self.profile, self.gpus_per_node)
        return BatchJob(self.run / SLURM, self.profile, f"harnet-{self.run.name}", job, more)

    def check(self) -> None:
        """Raise a HarnetError, in one line, for whatever would make the job fail."""
        if not 1 <= self.min_nodes <= self.nodes:
            raise HarnetError(f"--min-nodes is {self.min_nodes}; it must be from 1 to --nodes, which is {self.nodes}")
        refuse_secrets(self.arguments)
        self._check_order()
        self._check_run_folder()
        slurm.check_partition(self.profile.partition)
        if self.gpus_per_node:
            slurm.check_gpus(self.profile.partition, self.nodes, self.gpus_per_node)
        self._check_shared()
        self.batch().check()

    def _check_shared(self) -> None:
        """A job of one node, too, runs on another machine than the one where it is submitted."""
        if slurm.only_here():
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
                    f"data.lanes is {data.lanes} and data.batch {data.batch}; both must be multiples of {readers}: "
                    f"{nodes} nodes x {self.processes_per_node} processes x {max(data.workers, 1)} loaders"
                ) from None
        steps_per_epoch(self.manifest, "train", order)

    def _check_run_folder(self) -> None:
        if self.run.exists() and not self.run.is_dir():
            raise HarnetError(f"{self.run}: is a file; give a folder as --run.out")
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
                "use the same ones to continue it, or another --run.out"
            )
        if saved and saved.step >= self.planned.steps:
            raise HarnetError(f"{self.run}: finished, all {saved.step} steps are done; `harnet export` is what follows")
        for entry in submitted[-1:]:
            job = slurm.job(entry["job"])
            if job and job.alive:
                raise HarnetError(f"{self.run}: job {entry['job']} is {job.state} and works in it; see `harnet status`")

    def submit(self) -> str:
        """Queue the job and note it in the run folder; return its number."""
        number = self.batch().submit()
        entry = {
            "job": number,
            "config": self.planned.as_dict(),
            "arguments": [redacted(each) for each in self.arguments],
        }
        records.append(self.run, SUBMISSIONS, entry | {"nodes": [self.min_nodes, self.nodes]})
        return number

    def described(self, number: str) -> dict[str, str]:
        """Where to look, for people and for scripts."""
        folder = self.run / SLURM
        return {
            "job": number,
            "run": str(self.run),
            "script": str(folder / f"{number}_submission.sh"),
            "log": str(folder / f"{number}.log"),
            "next": f"harnet status {self.config.run.out}",
        }


def as_text(described: dict[str, str], training: Training) -> str:
    """What `harnet submit` prints."""
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
