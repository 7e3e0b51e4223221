"""Pretraining objectives: one file each, all with the protocol of `objective.py`, chosen by configuration."""

from dataclasses import dataclass, field, fields
from math import inf

from torch import Tensor

from harnet.errors import HarnetError
from pretrain.model import ModelConfig
from pretrain.objectives.context import ContextConfig
from pretrain.objectives.masked import MaskedConfig
from pretrain.objectives.mixture import Mixture
from pretrain.objectives.multitask import MultiTaskConfig
from pretrain.objectives.objective import Forward, Objective, ObjectiveConfig, ObjectiveOutput, PreparedBatch
from pretrain.objectives.simclr import SimCLRConfig

__all__ = [
    "Forward",
    "Objective",
    "ObjectiveOutput",
    "Objectives",
    "PreparedBatch",
    "create_objective",
    "objective_names",
    "parse_objectives",
    "score_batch",
]

JOINED_BY = "+"
_NOT_ONE = ("objective", "objective_weights")


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Table of objectives: each field is named after the objective and its configuration section."""

    objective: str = "multitask"
    """Pretraining objective: multitask, simclr, context or masked, or several joined by "+"; only their sections
    are used."""
    objective_weights: tuple[float, ...] = ()
    """With several objectives, the weights of their losses in the sum, in the same order; default: all 1."""
    multitask: MultiTaskConfig = field(default_factory=MultiTaskConfig)
    """Options of multitask: which transforms were applied to this window?"""
    simclr: SimCLRConfig = field(default_factory=SimCLRConfig)
    """Options of simclr: which other view is of the same window?"""
    context: ContextConfig = field(default_factory=ContextConfig)
    """Options of context: which other crop was recorded within seconds of this one?"""
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    """Options of masked: what was in the hidden patches?"""


def objective_names() -> tuple[str, ...]:
    """Names of all objectives."""
    return tuple(one.name for one in fields(Objectives) if one.name not in _NOT_ONE)


def parse_objectives(objective: str) -> tuple[str, ...]:
    """The names of the objectives that are joined by "+".

    HarnetError for an unknown or repeated name.
    """
    found = tuple(objective.split(JOINED_BY))
    if not set(found) <= set(objective_names()):
        raise HarnetError(
            f"objective is {objective!r}; one of: {', '.join(objective_names())}, or several joined by {JOINED_BY}"
        )
    if len(set(found)) < len(found):
        raise HarnetError(f"objective is {objective!r}; it must name none twice")
    return found


def create_objective(config: Objectives, model: ModelConfig) -> Objective:
    """The chosen objective, or a mixture of several; the options of the others are ignored."""
    wanted, weights = parse_objectives(config.objective), config.objective_weights
    if weights and len(wanted) == 1:
        raise HarnetError(f"objective_weights is {weights}; it is only for several objectives, joined by {JOINED_BY}")
    if weights and (len(weights) != len(wanted) or not all(0 < weight < inf for weight in weights)):
        raise HarnetError(f"objective_weights is {weights}; it must be {len(wanted)} numbers above 0, one for each of "
                          f"{config.objective}")  # fmt: skip
    parts = {name: _options(config, name).objective(model) for name in wanted}
    return Mixture(parts, weights or [1.0] * len(parts)) if len(parts) > 1 else parts[wanted[0]]


def _options(config: Objectives, name: str) -> ObjectiveConfig:
    options: ObjectiveConfig = getattr(config, name)
    return options


def score_batch(objective: Objective, network: Forward, counts: Tensor, keys: Tensor) -> ObjectiveOutput:
    """One batch from stored counts to the loss: prepare, run the network once, score.

    Args:
        objective: what is trained.
        network: the result of `Objective.build`, as wrapped by the loop; only the network runs under autocast.
        counts: (N, 3, T) int16, on the training device; T is that of `objective.seconds`.
        keys: (N,) int64.
    """
    prepared = objective.prepare(counts, keys)
    return objective.score(network(prepared.inputs), prepared.targets)
