"""The commands that can run as a job array: their work items, and the command that verifies the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.parts import WHOLE
from launch.arrays import JobArray, array_size, files_in
from launch.cli import parse
from launch.profile import Profile


@dataclass(frozen=True)
class ArrayCommand:
    """How a command is divided over array tasks; the functions take its parsed options."""

    items: Callable[[Any], Sequence[str]]
    """Names of the work items, in a fixed order; HarnetError if there are none."""
    inputs: Callable[[Any], Sequence[Path]]
    """Files and folders that it reads."""
    items_per_task: int
    """Items per array task, unless the user sets the number of tasks."""
    listed: bool = False
    """Whether the command takes `--listing`; otherwise each task would scan every input."""
    check: Callable[[Any], tuple[str, ...]] | None = None
    """Command line that verifies the result; None for the command itself without --part, which does what is missing."""


def job_array(kind: str, arguments: tuple[str, ...], jobs: int, profile: Profile) -> JobArray:
    """The job array for a command line of `harnet KIND` with `jobs` tasks, or a suitable number for 0."""
    command: Any = parse(kind, arguments)
    if command.part not in (None, WHOLE):
        raise HarnetError(f"--part {command.part}: each array task gets its own; omit it and set --jobs instead")
    divided = DIVISIBLE[kind]
    items = divided.items(command)
    return JobArray(
        kind=kind,
        arguments=arguments,
        inputs=divided.inputs(command),
        out=getattr(command, "folder", None) or command.out,
        items=items,
        count=array_size(len(items), jobs, divided.items_per_task),
        verification=divided.check(command) if divided.check else (kind, *arguments),
        profile=profile,
        listed=divided.listed,
        gpus=int(getattr(command, "device", "cpu").startswith("cuda")),
    )


def _recordings(store: Path) -> Sequence[str]:
    from data_shards.cohort.store import Cohort

    return Cohort.open(store).recordings()


def _to_apply(command: Any) -> Sequence[str]:
    from launch.recording_selection import is_store

    if not is_store(command.inputs):
        raise HarnetError("a job array needs one cohort store: make it from device files with harnet submit ingest")
    return _recordings(command.inputs[0])


def _and_weights(inputs: Sequence[Path], weights: str) -> Sequence[Path]:
    return [*inputs, Path(weights)] if Path(weights).exists() else inputs


def _pieces(command: Any) -> Sequence[str]:
    from harnet.evaluation.suite import piece_names

    return piece_names(command)


_APPLIED = ArrayCommand(
    items=_to_apply,
    inputs=lambda command: _and_weights(command.inputs, command.weights),
    items_per_task=50,
    listed=True,
)

DIVISIBLE = {
    "ingest": ArrayCommand(
        items=lambda command: files_in(command.inputs),
        inputs=lambda command: command.inputs,
        items_per_task=50,
        listed=True,
    ),
    "shard": ArrayCommand(
        items=lambda command: _recordings(command.cohort),
        inputs=lambda command: [command.cohort],
        items_per_task=200,
        listed=True,
        check=lambda command: ("verify", str(command.out)),
    ),
    "quality": ArrayCommand(
        items=lambda command: _recordings(command.cohort),
        inputs=lambda command: [command.cohort],
        items_per_task=500,
        listed=True,
    ),
    "embed": _APPLIED,
    "predict": _APPLIED,
    "evaluate": ArrayCommand(
        items=_pieces, inputs=lambda command: _and_weights([command.data], command.weights), items_per_task=20
    ),
}
"""Sub-command of `harnet` -> how it is divided."""
