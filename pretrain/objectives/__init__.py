"""What the encoder is trained to do: one file each behind the protocol of `protocol.py`, chosen by configuration."""

from dataclasses import dataclass, field, fields

from torch import Tensor

from harnet.errors import HarnetError
from pretrain.model import ModelConfig
from pretrain.objectives.masked import MaskedConfig
from pretrain.objectives.multitask import MultiTaskConfig
from pretrain.objectives.protocol import Forward, Objective, ObjectiveConfig, Outcome, Prepared
from pretrain.objectives.simclr import SimCLRConfig

__all__ = ["Forward", "Objective", "Objectives", "Outcome", "Prepared", "check_name", "create", "names", "outcome"]


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """The table of objectives: the name of a field is the name of the objective and of its options' section."""

    objective: str = "multitask"
    """What the encoder is trained to do: multitask, simclr or masked; only that section is used."""
    multitask: MultiTaskConfig = field(default_factory=MultiTaskConfig)
    """Which transforms were applied?"""
    simclr: SimCLRConfig = field(default_factory=SimCLRConfig)
    """Which other view is of the same window?"""
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    """What was in the hidden parts?"""


def names() -> tuple[str, ...]:
    """Of all objectives."""
    return tuple(one.name for one in fields(Objectives) if one.name != "objective")


def check_name(name: str) -> None:
    """HarnetError unless there is an objective of that name."""
    if name not in names():
        raise HarnetError(f"objective is {name!r}; one of: {', '.join(names())}")


def create(config: Objectives, model: ModelConfig) -> Objective:
    """The chosen objective; the options of the others are not looked at."""
    check_name(config.objective)
    chosen: ObjectiveConfig = getattr(config, config.objective)
    return chosen.objective(model)


def outcome(objective: Objective, network: Forward, counts: Tensor, keys: Tensor) -> Outcome:
    """One batch from stored counts to loss: prepare, run the network once, score.

    Args:
        objective: what is trained.
        network: what `Objective.build` returned, as the loop has wrapped it; it alone runs under autocast.
        counts: (N, 3, T) int16, on the training device.
        keys: (N,) int64.
    """
    prepared = objective.prepare(counts, keys)
    return objective.score(network(prepared.inputs), prepared.targets)
