"""`harnet submit`."""

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import tyro

from harnet.errors import HarnetError
from launch import slurm
from launch.profile import read

if TYPE_CHECKING:
    from launch.arrays import JobArray


@dataclass(frozen=True)
class SubmitOptions:
    """Run a `harnet` command as Slurm jobs.

    All options of the command follow on the same line. A training run restarts automatically after a time limit,
    preemption, a lost node or a crash; other commands become a job array, followed by a verification job. Running the
    same command again resumes what was interrupted and repeats what failed.

    Example: harnet submit pretrain --config harnet10 --data.shards shards --run.out runs/first
    --nodes 4 --gpus-per-node 8 --profile mine.toml

    Example: harnet submit ingest recordings/ --out cohort.zarr --jobs 100 --profile cpu

    Example: harnet submit embed cohort.zarr --weights weights --out features --device cuda --batch 4096 --jobs 8
    """

    profile: str | None = None
    """TOML file of the site profile, or the name of one included with harnet. `harnet template gpu` prints one."""
    nodes: int = 1
    """pretrain: number of nodes."""
    min_nodes: int = 0
    """pretrain: minimum number of nodes, with which a restart may continue; 0 means --nodes."""
    gpus_per_node: int = 0
    """pretrain: GPUs, and processes, per node; 0 trains on CPUs."""
    processes_per_node: int = 1
    """pretrain on CPUs: processes per node."""
    max_crashes: int = 3
    """pretrain: give up after this many consecutive crashes without a new checkpoint."""
    max_restarts: int = 100
    """pretrain: give up after this many restarts in total."""
    jobs: int = 0
    """All but pretrain: number of array tasks; 0 chooses it from the input. With --device cuda, each gets one GPU."""
    dry_run: bool = False
    """Check everything and print the batch script, but submit nothing."""
    wait: bool = False
    """Wait until it ends; the exit code is 0 only if it finished."""
    json: bool = False
    """Print job, paths and the next command as JSON."""

    def __post_init__(self) -> None:
        least = {"nodes": 1, "min_nodes": 0, "gpus_per_node": 0, "processes_per_node": 1, "max_crashes": 1}
        for name, minimum in (least | {"max_restarts": 0, "jobs": 0}).items():
            if getattr(self, name) < minimum:
                option = name.replace("_", "-")
                raise HarnetError(f"--{option} is {getattr(self, name)}; it must be at least {minimum}")


@dataclass(frozen=True)
class Command:
    """A parsed command line of `harnet submit`."""

    what: str
    """Sub-command to run, one of `KINDS`."""
    options: SubmitOptions
    """Options of the submission."""
    arguments: tuple[str, ...]
    """Options of the sub-command."""

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> "Command":
        """Parse the sub-command and its options; options unknown to `submit` are passed to the sub-command."""
        what, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
        if what in ("-h", "--help"):
            what, rest = f"{{{','.join(KINDS)}}}", ["--help"]
        elif what not in KINDS:
            raise HarnetError(f"cannot submit {what!r}; one of: {', '.join(KINDS)}")
        options, others = tyro.cli(
            SubmitOptions,
            prog=f"{program} {what}",
            description=inspect.getdoc(SubmitOptions),
            args=rest,
            return_unknown_args=True,
        )
        return cls(what, options, tuple(others))

    def run(self) -> int:
        """Check, submit, and print where to look; returns the exit code."""
        slurm.require()
        # Fail early if a package is missing, before folders and shards are checked.
        import submitit  # noqa: F401

        return KINDS[self.what](self.options, self.arguments)


def pretrain(options: SubmitOptions, arguments: tuple[str, ...]) -> int:
    """Submit a training run; returns the exit code."""
    from launch.submission import Training, as_json, as_text
    from launch.watch import follow
    from pretrain.command import Command as Pretrain
    from pretrain.command import describe_options_origin
    from pretrain.toml import with_config_files

    spelt_out, files = with_config_files(arguments)
    if len(files) > 1:
        print(describe_options_origin(files), file=sys.stderr)
    arguments = tuple(spelt_out)
    training = Training(
        config=Pretrain.parse("harnet submit pretrain", arguments).options,
        arguments=arguments,
        profile=read(options.profile),
        nodes=options.nodes,
        min_nodes=options.min_nodes or options.nodes,
        gpus_per_node=options.gpus_per_node,
        processes_per_node=options.gpus_per_node or options.processes_per_node,
        max_crashes=options.max_crashes,
        max_restarts=options.max_restarts,
    )
    training.check()
    if options.dry_run:
        print(training.batch().script)
        return 0
    described = training.described(training.submit())
    print(as_json(described) if options.json else as_text(described, training))
    return follow(training.config.run.out) if options.wait else 0


def array(kind: str, options: SubmitOptions, arguments: tuple[str, ...]) -> int:
    """Submit a job array over the parts of a command, and a verification job; returns the exit code."""
    from launch import array_commands

    return submit_array(array_commands.job_array(kind, arguments, options.jobs, read(options.profile)), options)


def submit_array(array: "JobArray", options: SubmitOptions) -> int:
    """Check and submit an array, and print where to look; returns the exit code."""
    from launch.arrays import wait_for

    array.check()
    if options.dry_run:
        print(array.array_job().script if array.missing else array.verification_job(None).script)
        return 0
    queued = array.submit()
    if options.json:
        print(json.dumps(queued, indent=2))
    else:
        print(f"array {queued['array']}: {queued['tasks']} tasks over {len(array.items)} inputs, "
              f"{queued['done_before']} already done\nverification: job {queued['verification']}, after them\n"
              f"logs:   {queued['logs']}\nfollow it with: squeue --me")  # fmt: skip
    return wait_for(str(queued["verification"]), array) if options.wait else 0


KINDS: dict[str, Callable[[SubmitOptions, tuple[str, ...]], int]] = {
    "pretrain": pretrain,
    **{kind: partial(array, kind) for kind in ("ingest", "shard", "quality", "embed", "predict", "evaluate")},
}
