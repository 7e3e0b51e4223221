"""Everything that a run of pretraining can be told: defaults, then TOML files (toml.py), then the command line."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from data_shards.stream.plan import OrderConfig
from harnet.errors import HarnetError
from harnet.redaction import redacted
from pretrain import objectives
from pretrain.model import ModelConfig
from pretrain.optim.optimizers import OptimizerConfig
from pretrain.parallel.compilation import CUDA_GRAPHS
from pretrain.run.probe import ProbeConfig
from pretrain.run.trace import TraceConfig
from pretrain.run.tracking import TrackingConfig
from pretrain.validation import at_least


@dataclass(frozen=True)
class DataConfig:
    """What is read, and in which order."""

    shards: str
    """Folder that `harnet shard` made, or its URL (s3://, https:// and others)."""
    batch: int = 512
    """Global batch: windows in a step over all processes."""
    lanes: int = 16
    """Divides the batch, and is divided by processes x workers, for every number of them the run shall ever use."""
    draws_per_day: int = 1500
    """Windows per person-day in an epoch."""
    windows_per_visit: int = 256
    """Windows taken from a person-hour once it is read; more costs less reading and mixes less."""
    shuffle_windows: int = 2048
    """Size of the groups in which a lane shuffles."""
    workers: int = 1
    """Loader processes beside each training process; 0 reads in the training process itself."""
    heldout_windows: int = 2048
    """Windows of held-out people that the held-out loss is computed on, the same for every run; 0 for none."""
    exclude: Path | None = None
    """Text file of people who withdrew, one id a line: nothing of theirs is read."""
    max_damaged: float = 0.001
    """Share of damaged blocks above which the run stops; up to it they are skipped, counted and logged."""
    retry_minutes: float = 5.0
    """How long a read that fails is tried again before the run stops. At most 8: others wait for 10 minutes."""
    cache: Path | None = None
    """Folder where the processes of a node share plans; harnet-<user id> in the temporary folder if not given."""
    cache_gb: float = 0.0
    """Of remote shards, how many GB of blocks each node keeps in that folder."""

    def __post_init__(self) -> None:
        least_zero = ("workers", "heldout_windows", "max_damaged", "retry_minutes", "cache_gb")
        at_least(0, "data", {name: getattr(self, name) for name in least_zero})
        if self.retry_minutes > 8:
            raise HarnetError(f"data.retry_minutes = {self.retry_minutes:g}: give at most 8")


DEFAULT_STEPS = 10_000
"""Of a run that says nothing of its length."""


@dataclass(frozen=True)
class RunConfig:
    """How long, where, and what is written when."""

    out: Path
    """Run folder: checkpoints, log.jsonl, tensorboard/. The same command continues a run that was stopped."""
    steps: int | None = None
    """Length of the run in steps; 10,000 if neither this nor `epochs` is given."""
    epochs: float | None = None
    """Or in epochs, of which each has data.draws_per_day windows of every person-day."""
    seed: int = 0
    """Of the initialisation, of the order of windows and of all transforms."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train; auto takes CUDA if there is any."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Of the encoder's arithmetic (autocast); weights and optimiser stay fp32."""
    accumulate: int = 1
    """Parts in which a global batch is computed, one after the other, to need less memory; batch normalisation, and
    an objective that compares windows, see one part at a time."""
    sync_batchnorm: bool = False
    """Batch statistics over all processes, so that losses do not depend on their number; costs communication."""
    compile: Literal["auto", "off", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "auto"
    """Mode of torch.compile; auto is default on CUDA and off on the CPU. If it fails, one line says so and the run goes
    on without."""
    deterministic: bool = False
    """The same bits from every start on the same GPUs, at some cost of speed; the CPU gives them anyway."""
    log_every: int = 20
    """Steps between lines of the log."""
    evaluate_every: int = 500
    """Steps between held-out losses; one more comes at the end."""
    patience: int = 0
    """Stop early after so many held-out losses in a row that are no better than the best; 0 never. The checkpoint of
    the best one is kept."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 15.0
    """And minutes between checkpoints, whichever comes first."""
    timeout_minutes: float = 10.0
    """For which a process waits for the others before it gives up: longer than any step or held-out loss."""
    keep: int = 2
    """Checkpoints kept; older ones are deleted once a newer one is complete."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise HarnetError(
                f"run.steps is {self.steps} and run.epochs {self.epochs:g}: give one of them; to drop the one "
                "in a file, give it as None on the command line"
            )
        if self.epochs is not None:
            at_least(1e-6, "run", {"epochs": self.epochs})
        elif self.steps is None:
            object.__setattr__(self, "steps", DEFAULT_STEPS)
        counts = ("log_every", "evaluate_every", "checkpoint_every", "keep", "accumulate")
        at_least(
            1,
            "run",
            {name: getattr(self, name) for name in counts} | {"steps": 1 if self.steps is None else self.steps},
        )
        at_least(0.01, "run", {"checkpoint_minutes": self.checkpoint_minutes, "timeout_minutes": self.timeout_minutes})
        at_least(2, "run", {"keep": self.keep})
        at_least(0, "run", {"seed": self.seed, "patience": self.patience})
        if self.compile in CUDA_GRAPHS and self.accumulate > 1:
            raise HarnetError(
                f"run.compile is {self.compile} and run.accumulate {self.accumulate}: CUDA graphs write the gradients "
                "of all pieces of a batch into the same memory, and their sum would be wrong; take run.compile default "
                "or max-autotune-no-cudagraphs, or run.accumulate 1"
            )


@dataclass(frozen=True)
class PretrainConfig(objectives.Objectives):
    """A whole run."""

    data: DataConfig
    """What is read, and in which order."""
    run: RunConfig
    """How long, where, and what is written when."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimiser and its schedule."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """The online probe."""
    trace: TraceConfig = field(default_factory=TraceConfig)
    """A trace of some steps."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Services that follow the run."""

    def __post_init__(self) -> None:
        self.order()
        warmup, steps = self.optimizer.warmup_steps, self.run.steps
        if steps is not None and warmup >= steps and self.optimizer.schedule != "published":
            raise HarnetError(f"optimizer.warmup_steps is {warmup}; it must be less than run.steps = {steps}")

    @property
    def steps(self) -> int:
        """Length of the run in steps."""
        assert self.run.steps is not None, "in_steps first"
        return self.run.steps

    def in_steps(self, steps_per_epoch: int) -> "PretrainConfig":
        """The same with its length in steps, which is what a checkpoint records."""
        if self.run.epochs is None:
            return self
        steps = max(1, round(self.run.epochs * steps_per_epoch))
        return replace(self, run=replace(self.run, steps=steps, epochs=None))

    def order(self) -> OrderConfig:
        """What decides the order of windows."""
        data = self.data
        return OrderConfig(
            window_seconds=objectives.create_objective(self, self.model).seconds,
            batch=data.batch,
            lanes=data.lanes,
            seed=self.run.seed,
            draws_per_day=data.draws_per_day,
            windows_per_visit=data.windows_per_visit,
            shuffle_windows=data.shuffle_windows,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values as JSON has them; of the objectives only those that are trained."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        plain["data"]["shards"] = redacted(self.data.shards)
        wanted = objectives.parse_objectives(self.objective)
        for name in objectives.objective_names():
            if name not in wanted:
                del plain[name]
        if len(wanted) == 1:
            del plain["objective_weights"]
        return plain


def settings_in_common(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Of a configuration (`as_dict`), what all processes of a run must have been told alike: all but where things lie.

    A node may have its own copy of the shards, and another name for the run folder.
    """
    own = {"data": {"shards", "cache", "exclude"}, "run": {"out"}}
    return {
        section: {name: value for name, value in values.items() if name not in own.get(section, ())}
        if isinstance(values, Mapping)
        else values
        for section, values in plain.items()
    }


MAY_CHANGE = {
    ("data", "shards"),
    ("data", "workers"),
    ("data", "heldout_windows"),
    *(("data", name) for name in ("exclude", "max_damaged", "retry_minutes", "cache", "cache_gb")),
    *(("run", name) for name in ("out", "device", "log_every", "evaluate_every", "checkpoint_every")),
    *(
        ("run", name)
        for name in ("checkpoint_minutes", "keep", "compile", "deterministic", "patience", "timeout_minutes")
    ),
    ("optimizer", "fused"),
    *(("probe", one.name) for one in fields(ProbeConfig)),
    *(("trace", one.name) for one in fields(TraceConfig)),
    *(("tracking", one.name) for one in fields(TrackingConfig)),
}
"""What may differ when a run is resumed: it decides neither the windows nor the update, up to rounding; or, of who is
excluded, the digest of what is left is compared."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What was changed between two configurations (`as_dict`) that a resumed run must have in common."""
    # Runs from before there was a choice of objective do not name theirs.
    before, now = old.get("objective", "multitask"), new["objective"]
    changed = [] if before == now else [f"objective was {before!r}, now {now!r}"]
    if before == now and old.get("objective_weights") != new.get("objective_weights"):
        changed.append(f"objective_weights was {old.get('objective_weights')}, now {new.get('objective_weights')}")
    return changed + [
        f"{section}.{name} was {old.get(section, {}).get(name)!r}, now {value!r}"
        for section, values in new.items()
        if isinstance(values, Mapping) and (section not in objectives.parse_objectives(now) or before == now)
        for name, value in values.items()
        if (section, name) not in MAY_CHANGE and old.get(section, {}).get(name) != value
    ]
