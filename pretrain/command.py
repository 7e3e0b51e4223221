"""`harnet pretrain`, and `python -m pretrain` under torchrun: options in, a trained run folder out."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path

import tyro

from pretrain.config import PretrainConfig
from pretrain.parallel import flight_recorder
from pretrain.parallel.distributed import process_group
from pretrain.toml import with_config_files


@dataclass(frozen=True)
class PretrainOptions(PretrainConfig):
    """Train an encoder on shards, self-supervised, on one process or many.

    Options come from --config FILE first, a TOML file or the name of one that comes with harnet, and from the command
    line second; of several files, each overrides those before it. The run folder is resumable: the same command
    continues after a stop, on any number of processes that divides data.lanes.

    Example: harnet pretrain --config harnet10 --data.shards shards --run.out runs/first

    On eight GPUs: torchrun --nproc-per-node 8 -m pretrain, followed by the same options.
    """

    config: Path | None = None
    """TOML file with the same names, such as [data] batch = 512; options given besides override it."""


@dataclass(frozen=True)
class Command:
    """A parsed command line of `harnet pretrain`."""

    options: PretrainConfig
    """What to do."""
    files: tuple[Path, ...] = ()
    """Files that options came from, in the order in which they count."""

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> "Command":
        """The command from its arguments; leaves with code 2 and a message that names the option if one is wrong."""
        spelt_out, files = with_config_files(arguments)
        options = tyro.cli(
            PretrainOptions,
            prog=program,
            description=inspect.getdoc(PretrainOptions),
            args=spelt_out,
            config=(tyro.conf.FlagConversionOff,),
        )
        # Files are spelt out by now: what is left is the configuration that a checkpoint records.
        config = PretrainConfig(**{one.name: getattr(options, one.name) for one in fields(PretrainConfig)})
        return cls(config, tuple(files))

    def run(self) -> int:
        """Train, then say where the result is."""
        from pretrain.run.training import train

        run = self.options.run
        flight_recorder.enable(run.out)
        with process_group(run.device, timedelta(minutes=run.timeout_minutes)) as process:
            if process.first and len(self.files) > 1:
                print(describe_options_origin(self.files))
            final = train(self.options, process)
            if process.first:
                print(f"{final}\nexport it with: harnet export {run.out} --out weights")
        return 0


def describe_options_origin(files: Sequence[Path]) -> str:
    """Where options came from, in words."""
    return f"options: {', then '.join(map(str, files))}, then the command line"
