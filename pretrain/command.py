"""Command line of `harnet pretrain`, and of `python -m pretrain` under torchrun."""

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
    """Pretrain an encoder on shards by self-supervised learning, on one or many processes.

    Options are read from --config FILE, a TOML file or the name of one that comes with harnet, then from the command
    line; later files override earlier ones, and the command line overrides all files. Rerun the same command to resume
    a stopped run, on any number of processes that divides data.lanes.

    Example: harnet pretrain --config harnet10 --data.shards shards --run.out runs/first

    On eight GPUs: torchrun --nproc-per-node 8 -m pretrain, followed by the same options.
    """

    config: Path | None = None
    """TOML file with the same names, such as [data] batch = 512; other options override it."""


@dataclass(frozen=True)
class Command:
    """Parsed command line of `harnet pretrain`."""

    options: PretrainConfig
    """Configuration of the run."""
    files: tuple[Path, ...] = ()
    """Configuration files, in the order in which they were applied."""

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> "Command":
        """Parse the arguments; exits with code 2 and a message that names the option if one is invalid."""
        spelt_out, files = with_config_files(arguments)
        options = tyro.cli(
            PretrainOptions,
            prog=program,
            description=inspect.getdoc(PretrainOptions),
            args=spelt_out,
            config=(tyro.conf.FlagConversionOff,),
        )
        # The files are already expanded into options: what remains is the configuration that checkpoints record.
        config = PretrainConfig(**{one.name: getattr(options, one.name) for one in fields(PretrainConfig)})
        return cls(config, tuple(files))

    def run(self) -> int:
        """Train, then print where the result is."""
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
    """One line that lists the configuration files in the order in which they were applied."""
    return f"options: {', then '.join(map(str, files))}, then the command line"
