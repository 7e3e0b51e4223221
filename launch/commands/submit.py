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
    from launch.arrays import Array


@dataclass(frozen=True)
class SubmitOptions:
    """Have Slurm do what the same command of `harnet` would do here.

    All options of that command follow in the same line. A training run continues by itself after a time limit,
    preemption, a lost node or a crash; the others become an array of jobs, with a check of the whole when all are done.
    Given again, the same command continues what was stopped and repeats what failed.

    Example: harnet submit pretrain --config harnet10 --data.shards shards --run.out runs/first
    --nodes 4 --gpus-per-node 8 --profile mine.toml

    Example: harnet submit ingest recordings/ --out cohort.zarr --jobs 100 --profile cpu

    Example: harnet submit embed cohort.zarr --weights weights --out features --device cuda --batch 4096 --jobs 8
    """

    profile: str | None = None
    """TOML file of the site, or the name of one that comes with harnet. `harnet template gpu` prints one to edit."""
    nodes: int = 1
    """pretrain: nodes."""
    min_nodes: int = 0
    """pretrain: nodes that will do when a restart finds fewer; 0 for as many as --nodes."""
    gpus_per_node: int = 0
    """pretrain: GPUs, and processes, on a node; 0 trains on CPUs."""
    processes_per_node: int = 1
    """pretrain on CPUs: processes on a node."""
    max_crashes: int = 3
    """pretrain: crashes in a row without a new checkpoint after which the job gives up."""
    max_restarts: int = 100
    """pretrain: starts in all after which the job gives up."""
    jobs: int = 0
    """All but pretrain: elements of the array; 0 sizes it from the input. With --device cuda, each has a GPU."""
    dry_run: bool = False
    """Check, print the batch script, and queue nothing."""
    wait: bool = False
    """Follow it to the end; the exit code is 0 only if it finished."""
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
    """One of `KINDS`."""
    options: SubmitOptions
    """Of the submission."""
    arguments: tuple[str, ...]
    """Of the command itself."""

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> "Command":
        """What is submitted, then options; those that are not of `submit` are of the command."""
        what, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
        if what in ("-h", "--help"):
            what, rest = f"{{{','.join(KINDS)}}}", ["--help"]
        elif what not in KINDS:
            raise HarnetError(f"what to submit is {what!r}; one of: {', '.join(KINDS)}")
        options, others = tyro.cli(
            SubmitOptions,
            prog=f"{program} {what}",
            description=inspect.getdoc(SubmitOptions),
            args=rest,
            return_unknown_args=True,
        )
        return cls(what, options, tuple(others))

    def run(self) -> int:
        """Check, submit, say where to look."""
        slurm.require()
        # A missing package is said before folders and shards are looked at.
        import submitit  # noqa: F401

        return KINDS[self.what](self.options, self.arguments)


def pretrain(options: SubmitOptions, arguments: tuple[str, ...]) -> int:
    """Submit a training run."""
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
    """Submit an array over the parts of a command, and a check of the whole."""
    from launch import divisible

    return submit_array(divisible.array(kind, arguments, options.jobs, read(options.profile)), options)


def submit_array(array: "Array", options: SubmitOptions) -> int:
    """Check, queue, say where to look."""
    from launch.arrays import wait_for

    array.check()
    if options.dry_run:
        print(array.elements().script if array.missing else array.check_of_all(None).script)
        return 0
    queued = array.submit()
    if options.json:
        print(json.dumps(queued, indent=2))
    else:
        print(f"array {queued['array']}: {queued['elements']} elements over {len(array.items)} inputs, "
              f"{queued['done_before']} done before\nverification: job {queued['verification']}, after them\n"
              f"logs:   {queued['logs']}\nfollow it with: squeue --me")  # fmt: skip
    return wait_for(str(queued["verification"]), array) if options.wait else 0


KINDS: dict[str, Callable[[SubmitOptions, tuple[str, ...]], int]] = {
    "pretrain": pretrain,
    **{kind: partial(array, kind) for kind in ("ingest", "shard", "quality", "embed", "predict", "evaluate")},
}
