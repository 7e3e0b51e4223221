"""Everything that a run of pretraining can be told; defaults first, then a TOML file, then the command line.

A TOML file is turned into options and read by the same parser as the command line, so both are checked alike.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_shards.layout import RATE
from data_shards.shards.location import redacted
from data_shards.stream.plan import OrderConfig
from harnet.encoder import find_architecture
from harnet.errors import HarnetError

Task = Literal["reversal", "scaling", "permutation", "time_warp"]


def _at_least(least: float, section: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not value >= least:
            raise HarnetError(f"{section}.{name} is {value}; it must be at least {least}")


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
    """Windows of held-out people that the held-out loss is computed on; 0 for none."""
    exclude: Path | None = None
    """Text file of people who withdrew, one id a line: nothing of theirs is read."""
    max_damaged: float = 0.001
    """Share of damaged blocks above which the run stops; up to it they are skipped, counted and logged."""
    cache: Path | None = None
    """Folder where the processes of a node share plans; harnet-<user id> in the temporary folder if not given."""
    cache_gb: float = 0.0
    """Of remote shards, how many GB of blocks each node keeps in that folder."""

    def __post_init__(self) -> None:
        _at_least(0, "data", {"workers": self.workers, "heldout_windows": self.heldout_windows})
        _at_least(0, "data", {"max_damaged": self.max_damaged, "cache_gb": self.cache_gb})


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    architecture: Literal["harnet5", "harnet10", "harnet30"] = "harnet10"
    """Length of a window: 5, 10 or 30 s."""
    standardise: bool = True
    """Remove the mean of each axis and the scale of each window inside the encoder; False as published."""
    initialisation: Literal["published", "residual_zero"] = "residual_zero"
    """How the encoder starts; see harnet/encoder.py."""


@dataclass(frozen=True)
class MultiTaskConfig:
    """Which transforms are to be recognised."""

    tasks: tuple[Task, ...] = ("reversal", "permutation", "time_warp")
    """Each applied to a window with probability one half; the published final model uses these three."""
    identity_permutations: bool = False
    """Let 1 permutation in 24 leave the window as it is, as the published code does."""
    orientation: bool = True
    """Turn every window to a random orientation of the device, unlabelled."""
    low_pass_hz: float = 0.0
    """Low-pass all windows after the transforms, so that their traces are no clue; 0 leaves it out, as published."""
    noise_g: float = 0.0
    """Standard deviation of white noise added to all windows after that; 0 leaves it out, as published."""

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise HarnetError(f"multitask.tasks is {self.tasks}; it must name at least one task, none twice")
        _at_least(0, "multitask", {"low_pass_hz": self.low_pass_hz, "noise_g": self.noise_g})
        if self.low_pass_hz >= RATE / 2:
            raise HarnetError(f"multitask.low_pass_hz is {self.low_pass_hz}; it must be below {RATE / 2}, or 0")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then a half cosine down to zero at the last step."""

    learning_rate: float = 1e-3
    """Peak, reached at the end of the warm-up."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 0.01
    """Of convolutions and linear layers; normalisation and biases have none."""
    amsgrad: bool = False
    """AMSGrad, as published (with Adam, 1e-4 and no decay)."""
    clip_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""

    def __post_init__(self) -> None:
        positive = {"learning_rate": self.learning_rate, "clip_norm": self.clip_norm}
        _at_least(1e-12, "optimizer", positive)
        _at_least(0, "optimizer", {"warmup_steps": self.warmup_steps, "weight_decay": self.weight_decay})


@dataclass(frozen=True)
class RunConfig:
    """How long, where, and what is written when."""

    out: Path
    """Run folder: checkpoints, log.jsonl, tensorboard/. The same command continues a run that was stopped."""
    steps: int = 10_000
    """Length of the run in steps."""
    seed: int = 0
    """Of the initialisation, of the order of windows and of all transforms."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train; auto takes CUDA if there is any."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Of the encoder's arithmetic (autocast); weights and optimiser stay fp32."""
    log_every: int = 20
    """Steps between lines of the log."""
    evaluate_every: int = 500
    """Steps between held-out losses; one more comes at the end."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 15.0
    """And minutes between checkpoints, whichever comes first."""
    keep: int = 2
    """Checkpoints kept; older ones are deleted once a newer one is complete."""

    def __post_init__(self) -> None:
        counts = ("steps", "log_every", "evaluate_every", "checkpoint_every", "keep")
        _at_least(1, "run", {name: getattr(self, name) for name in counts})
        _at_least(0.01, "run", {"checkpoint_minutes": self.checkpoint_minutes})
        _at_least(2, "run", {"keep": self.keep})
        _at_least(0, "run", {"seed": self.seed})


@dataclass(frozen=True)
class PretrainConfig:
    """A whole run."""

    data: DataConfig
    """What is read, and in which order."""
    run: RunConfig
    """How long, where, and what is written when."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    multitask: MultiTaskConfig = field(default_factory=MultiTaskConfig)
    """The pretext tasks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimiser and its schedule."""

    def __post_init__(self) -> None:
        self.order()
        warmup, steps = self.optimizer.warmup_steps, self.run.steps
        if warmup >= steps:
            raise HarnetError(f"optimizer.warmup_steps is {warmup}; it must be less than run.steps = {steps}")

    def order(self) -> OrderConfig:
        """What decides the order of windows."""
        data = self.data
        return OrderConfig(
            window_seconds=find_architecture(self.model.architecture).seconds,
            batch=data.batch,
            lanes=data.lanes,
            seed=self.run.seed,
            draws_per_day=data.draws_per_day,
            windows_per_visit=data.windows_per_visit,
            shuffle_windows=data.shuffle_windows,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain: dict[str, Any] = asdict(self)
        plain["data"]["shards"], plain["run"]["out"] = redacted(str(self.data.shards)), str(self.run.out)
        for name in ("exclude", "cache"):
            plain["data"][name] = None if plain["data"][name] is None else str(plain["data"][name])
        plain["multitask"]["tasks"] = list(self.multitask.tasks)
        return plain


MAY_CHANGE = {
    ("data", "shards"),
    ("data", "workers"),
    ("data", "heldout_windows"),
    *(("data", name) for name in ("exclude", "max_damaged", "cache", "cache_gb")),
    *(("run", name) for name in ("out", "device", "log_every", "evaluate_every", "checkpoint_every")),
    *(("run", name) for name in ("checkpoint_minutes", "keep")),
}
"""What may differ when a run is resumed, because the numbers do not depend on it, or, who is excluded, because the
digest of what is left is compared."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What was changed between two configurations (`as_dict`) that a resumed run must have in common."""
    return [
        f"{section}.{name} was {old.get(section, {}).get(name)!r}, now {value!r}"
        for section, values in new.items()
        for name, value in values.items()
        if (section, name) not in MAY_CHANGE and old.get(section, {}).get(name) != value
    ]


def with_file(arguments: Sequence[str]) -> list[str]:
    """Replace `--config FILE` by the options that the TOML file spells out, before all others, which override them.

    Raises:
        HarnetError: the file is missing or not TOML.
    """
    arguments = list(arguments)
    for number, argument in enumerate(arguments):
        if argument == "--config" and number + 1 < len(arguments):
            path = Path(arguments[number + 1])
            rest = arguments[:number] + arguments[number + 2 :]
        elif argument.startswith("--config="):
            path = Path(argument.removeprefix("--config="))
            rest = arguments[:number] + arguments[number + 1 :]
        else:
            continue
        return _options(_read_toml(path)) + rest
    return arguments


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise HarnetError(f"{path}: no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnetError(f"{path}: not TOML: {error}") from error


def _options(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    options: list[str] = []
    for name, value in table.items():
        key = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            options += _options(value, f"{key}.")
        else:
            options += [f"--{key}", *map(str, value if isinstance(value, list) else [value])]
    return options
