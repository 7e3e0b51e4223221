"""The `harnet` program: one name, one sub-command a file in `launch/commands/`."""

import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol

import harnet
from harnet.console import USAGE, exit_with, guarded

COMMANDS: dict[str, tuple[str, str]] = {
    "ingest": ("data", "device files -> 30 Hz cohort store (Zarr)"),
    "synth": ("data", "a synthetic cohort store of any size, for load tests and demonstrations"),
    "quality": ("data", "what a quality policy keeps of a cohort store: flow table, pictures, HTML page"),
    "calibration": ("data", "calibrations of devices in a cohort store -> a file for short recordings of theirs"),
    "shard": ("data", "cohort store -> WebDataset shards and a manifest"),
    "verify": ("data", "re-check every byte of a shard folder or a cohort store"),
    "whose": ("data", "participant and recording of a block that a log names by shard and byte"),
    "purge": ("data", "take people who withdrew out of shards or a cohort store, with proof"),
    "pretrain": ("train", "self-supervised training of an encoder on shards"),
    "submit": ("train", "pretrain, ingest, shard, quality, embed, predict or evaluate as jobs of SLURM"),
    "status": ("train", "what a training run does now, how far it is, and what is safe"),
    "cancel": ("train", "end the job of a training run; its checkpoints stay"),
    "template": ("train", "configurations, site profiles and batch scripts to copy and edit"),
    "doctor": ("train", "what training needs on this machine or cluster: good, or what to do"),
    "export": ("train", "a training run -> a folder of weights to publish"),
    "inspect": ("apply", "weights: which come with harnet, what they are and where from, every file checked"),
    "publish": ("train", "a folder of weights -> the Hugging Face Hub, with a dry run"),
    "dataset": ("apply", "public labelled data sets: list them, fetch them, cut labelled windows"),
    "evaluate": ("apply", "does it transfer? all arms on labelled data sets, with intervals over people"),
    "report": ("apply", "results and the run behind the weights, as one HTML page"),
    "finetune": ("apply", "train and test a classifier on your labelled windows, people held out"),
    "predict": ("apply", "recordings and a fine-tuned model -> classes in time, minutes by day and person"),
    "embed": ("apply", "recordings and weights -> features in time, means by day and person"),
}
"""Sub-command, whose module is `launch.commands.<name>` -> the extra that it needs, its line in the help."""

RENAMED: dict[str, dict[str, str]] = {"quality": {"--policy": "--quality"}}
"""Sub-command -> options by the names of version 0.1, which are taken for one more release, and their names now."""


class Command(Protocol):
    """What a module in `launch/commands/` defines under the name `Command`: a dataclass of options that runs."""

    def run(self) -> int:
        """Do the work; return the exit code, 0 only if all of it was done."""


def usage() -> str:
    """The text of `harnet --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: harnet COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "harnet COMMAND --help shows a command's options with an example.",
            "",
            "Example: harnet ingest recordings/*.cwa --out cohort.zarr",
        ]
    )


def parse(name: str, arguments: Sequence[str]) -> Command:
    """The command `name` with its options read from `arguments`; leaves with code 2 on a wrong option."""
    arguments = _renamed(name, arguments)
    kind = importlib.import_module(f"launch.commands.{name}").Command
    if hasattr(kind, "parse"):
        command: Command = kind.parse(f"harnet {name}", arguments)
        return command

    import tyro

    return tyro.cli(kind, prog=f"harnet {name}", description=inspect.getdoc(kind), args=arguments)


def _renamed(name: str, arguments: Sequence[str]) -> list[str]:
    """The same arguments by the options' names of today, with a line on standard error for each other one."""
    found = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        now = RENAMED.get(name, {}).get(option)
        if now is not None:
            print(f"harnet {name}: {option} is now {now}; the old name goes with the next release", file=sys.stderr)
        found.append(f"{now}{equals}{value}" if now else argument)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else USAGE
    if arguments[0] == "--version":
        print(f"harnet {harnet.__version__}")
        return 0
    name, *options = arguments
    if name not in COMMANDS:
        print(f"harnet: no command {name!r}; one of: {', '.join(COMMANDS)}", file=sys.stderr)
        return USAGE
    return guarded(f"harnet {name}", COMMANDS[name][0], lambda: parse(name, options).run())


def entry_point() -> NoReturn:
    """The console script."""
    exit_with(main)
