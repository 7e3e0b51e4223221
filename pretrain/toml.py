"""Configuration files (TOML), expanded into command-line options, so that one parser validates both."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.shipped import find

CONFIGS = Path(__file__).parent / "configs"
"""Configurations that come with harnet."""


def with_config_files(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Replace every `--config FILE` by the options in the TOML file, placed before all other options.

    FILE may also be the name of one in `CONFIGS`, such as harnet10.
    Options override those before them: a second file overrides the first, the command line overrides both.

    Returns the options, and the files in the order in which they count.

    Raises:
        HarnetError: a file is missing or not TOML.
    """
    files: list[Path] = []
    others: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--config" and (path := next(remaining, None)) is not None:
            files.append(find(path, CONFIGS, "configuration file"))
        elif argument.startswith("--config="):
            files.append(find(argument.removeprefix("--config="), CONFIGS, "configuration file"))
        else:
            others.append(argument)
    return [option for path in files for option in _options(_read_toml(path))] + others, files


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
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
