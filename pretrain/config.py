"""Configuration of a pretraining run: defaults, overridden by TOML files (toml.py), then by the command line."""

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
    """Which shards are read, and in which order."""

    shards: str
    """Folder written by `harnet shard`, or its URL (s3://, https:// and others)."""
    batch: int = 512
    """Global batch size: windows per step, summed over all ranks."""
    lanes: int = 16
    """Number of lanes. Must divide the batch, and be a multiple of ranks x workers for all numbers of both that the run
    will ever use."""
    draws_per_day: int = 1500
    """Windows drawn per person-day and epoch."""
    windows_per_visit: int = 256
    """Windows taken each time a person-hour is read; more means less reading but poorer mixing."""
    shuffle_windows: int = 2048
    """Size of a lane's shuffle buffer, in windows."""
    workers: int = 1
    """Loader processes per rank; 0 loads data in the training process itself."""
    heldout_windows: int = 2048
    """Windows of held-out people for the held-out loss, the same for every run; 0 disables it."""
    exclude: Path | None = None
    """Text file of people who withdrew, one id per line: none of their data is read."""
    max_damaged: float = 0.001
    """Share of damaged blocks above which the run stops; up to it, they are skipped, counted and logged."""
    retry_minutes: float = 5.0
    """How long a failing read is retried before the run stops. At most 8: the other ranks time out after 10 minutes."""
    cache: Path | None = None
    """Folder in which the processes of a node share plans; default: harnet-<user id> in the temporary folder."""
    cache_gb: float = 0.0
    """GB of blocks of remote shards that each node caches in that folder."""

    def __post_init__(self) -> None:
        least_zero = ("workers", "heldout_windows", "max_damaged", "retry_minutes", "cache_gb")
        at_least(0, "data", {name: getattr(self, name) for name in least_zero})
        if self.retry_minutes > 8:
            raise HarnetError(f"data.retry_minutes = {self.retry_minutes:g}: give at most 8")


DEFAULT_STEPS = 10_000
"""If neither run.steps nor run.epochs is given."""


@dataclass(frozen=True)
class RunConfig:
    """Length of the run, device and precision, and when logs and checkpoints are written."""

    out: Path
    """Run folder: checkpoints, log.jsonl, tensorboard/. Rerun the same command to resume a stopped run."""
    steps: int | None = None
    """Length of the run in steps; 10,000 if neither this nor `epochs` is given."""
    epochs: float | None = None
    """Length of the run in epochs instead; an epoch draws data.draws_per_day windows from every person-day."""
    seed: int = 0
    """Seed of the initialisation, the order of windows and all transforms."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device to train on; auto uses CUDA if available."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Precision of the forward pass (autocast); weights and optimiser state stay fp32."""
    accumulate: int = 1
    """Gradient accumulation: micro-batches per global batch, to save memory. Batch normalisation, and objectives that
    compare windows, see one micro-batch at a time."""
    sync_batchnorm: bool = False
    """Synchronise batch statistics over all ranks: losses do not depend on the world size; costs communication."""
    compile: Literal["auto", "off", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "auto"
    """Mode of torch.compile; auto means default on CUDA and off on the CPU. If compilation fails, the run says so and
    continues without it."""
    deterministic: bool = False
    """Bit-identical results on the same GPUs, at some cost in speed; on the CPU they always are."""
    log_every: int = 20
    """Steps between log entries."""
    evaluate_every: int = 500
    """Steps between evaluations of the held-out loss; it is also evaluated at the end."""
    patience: int = 0
    """Stop early after this many held-out losses in a row without improvement; 0 never stops early. The checkpoint
    with the best loss is kept."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 15.0
    """Minutes between checkpoints, if they pass before `checkpoint_every` steps do."""
    timeout_minutes: float = 10.0
    """Timeout of collectives; must be longer than any step or evaluation takes."""
    keep: int = 2
    """Number of checkpoints to keep; older ones are deleted once a newer one is complete."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise HarnetError(
                f"run.steps is {self.steps} and run.epochs is {self.epochs:g}: give only one of them; to override one "
                "that is set in a file, pass None for it on the command line"
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
                f"run.compile is {self.compile} and run.accumulate is {self.accumulate}: with CUDA graphs, the "
                "micro-batches would overwrite each other's gradients; use run.compile default or "
                "max-autotune-no-cudagraphs, or run.accumulate 1"
            )


@dataclass(frozen=True)
class PretrainConfig(objectives.Objectives):
    """Configuration of a pretraining run."""

    data: DataConfig
    """Which shards are read, and in which order."""
    run: RunConfig
    """Length of the run, device and precision, and when logs and checkpoints are written."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimiser and its schedule."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """The online probe."""
    trace: TraceConfig = field(default_factory=TraceConfig)
    """Profiler trace of some steps."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Experiment tracking."""

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
        """The same configuration with its length in steps, as checkpoints record it."""
        if self.run.epochs is None:
            return self
        steps = max(1, round(self.run.epochs * steps_per_epoch))
        return replace(self, run=replace(self.run, steps=steps, epochs=None))

    def order(self) -> OrderConfig:
        """The settings that determine the order of windows."""
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
        """Plain JSON values; of the objectives, only those that are trained."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        plain["data"]["shards"] = redacted(self.data.shards)
        wanted = objectives.parse_objectives(self.objective)
        for name in objectives.objective_names():
            if name not in wanted:
                del plain[name]
        if len(wanted) == 1:
            del plain["objective_weights"]
        return plain


def settings_shared_by_ranks(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The settings (of `as_dict`) that must be the same on all ranks: everything except paths.

    A node may have its own copy of the shards, and another path to the run folder.
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
"""Settings that may change when a run is resumed: they affect neither the windows nor the update, except for rounding.
A change of `data.exclude` is caught by the digest of the manifest instead."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Changes between two configurations (`as_dict`) in settings that must stay the same when a run is resumed."""
    # Runs from before objectives could be chosen do not name theirs.
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
