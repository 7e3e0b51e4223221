"""The commands whose work falls into the elements of a job array: what there is to do, and what checks the whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.parts import WHOLE
from launch.arrays import Array, files_in, size
from launch.cli import parse
from launch.profile import Profile


@dataclass(frozen=True)
class Divisible:
    """How one command is divided; functions take its parsed options."""

    items: Callable[[Any], Sequence[str]]
    """Names of what there is to do, in a fixed order; HarnetError if there is nothing."""
    inputs: Callable[[Any], Sequence[Path]]
    """Files and folders that it reads."""
    per_element: int
    """Items of an element, if the user asks for no number of elements."""
    listed: bool = False
    """Whether the command takes `--listing`: else each element would ask something of every input."""
    check: Callable[[Any], tuple[str, ...]] | None = None
    """Command line that checks the whole; None for the command itself over all of it, which does what is missing."""


def array(kind: str, arguments: tuple[str, ...], jobs: int, profile: Profile) -> Array:
    """The array for a command line of `harnet KIND`, of `jobs` elements or, for 0, of as many as suit the work."""
    command: Any = parse(kind, arguments)
    if command.part not in (None, WHOLE):
        raise HarnetError(f"--part {command.part}: each element gets its own; leave it out, --jobs sets their number")
    divided = DIVISIBLE[kind]
    items = divided.items(command)
    return Array(
        kind=kind,
        arguments=arguments,
        inputs=divided.inputs(command),
        out=command.out,
        items=items,
        count=size(len(items), jobs, divided.per_element),
        verification=divided.check(command) if divided.check else (kind, *arguments),
        profile=profile,
        listed=divided.listed,
        gpus=int(getattr(command, "device", "cpu").startswith("cuda")),
    )


def _recordings(store: Path) -> Sequence[str]:
    from data_shards.cohort.store import Cohort

    return Cohort.open(store).recordings()


def _to_apply(command: Any) -> Sequence[str]:
    from launch.recordings import is_store

    if not is_store(command.inputs):
        raise HarnetError("an array takes one cohort store: make it from device files with harnet submit ingest")
    return _recordings(command.inputs[0])


def _and_weights(inputs: Sequence[Path], weights: str) -> Sequence[Path]:
    return [*inputs, Path(weights)] if Path(weights).exists() else inputs


def _pieces(command: Any) -> Sequence[str]:
    from harnet.evaluation.suite import piece_names

    return piece_names(command)


_APPLIED = Divisible(
    items=_to_apply,
    inputs=lambda command: _and_weights(command.inputs, command.weights),
    per_element=50,
    listed=True,
)

DIVISIBLE = {
    "ingest": Divisible(
        items=lambda command: files_in(command.inputs),
        inputs=lambda command: command.inputs,
        per_element=50,
        listed=True,
    ),
    "shard": Divisible(
        items=lambda command: _recordings(command.cohort),
        inputs=lambda command: [command.cohort],
        per_element=200,
        listed=True,
        check=lambda command: ("verify", str(command.out)),
    ),
    "quality": Divisible(
        items=lambda command: _recordings(command.cohort),
        inputs=lambda command: [command.cohort],
        per_element=500,
        listed=True,
    ),
    "embed": _APPLIED,
    "predict": _APPLIED,
    "evaluate": Divisible(
        items=_pieces, inputs=lambda command: _and_weights([command.data], command.weights), per_element=20
    ),
}
"""Command of `harnet` -> how it is divided."""
