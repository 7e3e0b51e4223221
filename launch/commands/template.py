"""`harnet template`: print a file included with harnet, to copy and edit."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from harnet.errors import HarnetError
from launch.profile import PROFILES
from pretrain.toml import CONFIGS

SCRIPTS = PROFILES.parent


@dataclass(frozen=True)
class Command:
    """Print a configuration, a site profile or a batch script included with harnet, to copy and edit.

    Without a name, list them. Configurations and profiles can also be used by name: `--config harnet10`,
    `--profile cpu`.

    Example: harnet template gpu > mine.toml
    """

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="NAME")] = None
    """Name of the file, such as harnet10, gpu or pretrain.sbatch."""

    def run(self) -> int:
        """Print a file, or the list; returns the exit code."""
        files = {name: path for found in templates().values() for name, path in found.items()}
        if self.name is None:
            print(listing())
            return 0
        if self.name not in files:
            raise HarnetError(f"no template {self.name!r}; one of: {', '.join(files)}")
        print(files[self.name].read_text(), end="")
        return 0


def templates() -> dict[str, dict[str, Path]]:
    """Kind of file -> name -> path."""
    return {
        "configurations, harnet pretrain --config": {path.stem: path for path in sorted(CONFIGS.glob("*.toml"))},
        "site profiles, harnet submit --profile": {path.stem: path for path in sorted(PROFILES.glob("*.toml"))},
        "batch scripts, sbatch": {path.name: path for path in sorted(SCRIPTS.glob("*.sbatch"))},
        "container image, apptainer build": {path.name: path for path in sorted(SCRIPTS.glob("*.def"))},
    }


def listing() -> str:
    """All names, each with the first clause of the file's first comment."""
    found = templates()
    width = max(len(name) for files in found.values() for name in files)
    return "\n".join(
        f"{kind}:\n" + "\n".join(f"  {name:<{width}}  {_summary(path)}".rstrip() for name, path in files.items())
        for kind, files in found.items()
    )


def _summary(path: Path) -> str:
    """The first clause of a file's first comment."""
    comment = ""
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            comment += line.removeprefix("#")
        elif comment:
            break
    return re.split("[.:;](?: |$)", comment.strip(), maxsplit=1)[0]
