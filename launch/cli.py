"""The `harnet` program; each file in `launch/commands/` is one sub-command."""

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
    "quality": ("data", "what a quality policy keeps of a cohort store: flow table, plots, HTML report"),
    "calibration": ("data", "device calibrations from a cohort store -> a file for calibrating short recordings"),
    "shard": ("data", "cohort store -> WebDataset shards and a manifest"),
    "verify": ("data", "verify every byte of a shard folder or a cohort store"),
    "whose": ("data", "participant and recording of a block that a log identifies by shard and byte"),
    "purge": ("data", "remove participants who withdrew from shards or a cohort store, with proof"),
    "pretrain": ("train", "self-supervised training of an encoder on shards"),
    "submit": ("train", "run pretrain, ingest, shard, quality, embed, predict or evaluate as Slurm jobs"),
    "status": ("train", "state, progress and last checkpoint of a training run"),
    "cancel": ("train", "cancel the job of a training run, keeping its checkpoints"),
    "template": ("train", "configurations, site profiles and batch scripts to copy and edit"),
    "doctor": ("train", "check what training needs on this machine or cluster"),
    "export": ("train", "a training run -> a folder of weights to publish"),
    "inspect": ("apply", "list the weights included with harnet, or verify and describe a folder of weights"),
    "publish": ("train", "upload a folder of weights to the Hugging Face Hub, with a dry run"),
    "dataset": ("apply", "public labelled data sets: list them, download them, cut labelled windows"),
    "evaluate": ("apply", "does it transfer? compare classifiers on labelled data sets, with confidence intervals"),
    "report": ("apply", "evaluation results and the pretraining run, as one HTML page"),
    "finetune": ("apply", "train a classifier on your labelled windows and test it on held-out people"),
    "predict": ("apply", "recordings and a fine-tuned model -> classes over time, minutes per day and person"),
    "embed": ("apply", "recordings and weights -> features over time, means per day and person"),
}
"""Sub-command (module `launch.commands.<name>`) -> the extra it needs, and its line in `harnet --help`."""

RENAMED: dict[str, dict[str, str]] = {"quality": {"--policy": "--quality"}}
"""Sub-command -> deprecated option names of version 0.1, accepted for one more release -> current names."""


class Command(Protocol):
    """Interface of the class `Command` in each module of `launch/commands/`: a dataclass of options."""

    def run(self) -> int:
        """Run the command; returns the exit code, 0 only if everything succeeded."""


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
            "harnet COMMAND --help shows the options of a command, with an example.",
            "",
            "Example: harnet ingest recordings/*.cwa --out cohort.zarr",
        ]
    )


def parse(name: str, arguments: Sequence[str]) -> Command:
    """Parse `arguments` into the command `name`; exits with code 2 on an invalid option."""
    arguments = _renamed(name, arguments)
    kind = importlib.import_module(f"launch.commands.{name}").Command
    if hasattr(kind, "parse"):
        command: Command = kind.parse(f"harnet {name}", arguments)
        return command

    import tyro

    return tyro.cli(kind, prog=f"harnet {name}", description=inspect.getdoc(kind), args=arguments)


def _renamed(name: str, arguments: Sequence[str]) -> list[str]:
    """Replace deprecated option names by the current ones, with a warning on standard error for each."""
    found = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        now = RENAMED.get(name, {}).get(option)
        if now is not None:
            print(f"harnet {name}: {option} is now {now}; the next release drops the old name", file=sys.stderr)
        found.append(f"{now}{equals}{value}" if now else argument)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv) and return its exit code."""
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
    """Entry point of the console script."""
    exit_with(main)
