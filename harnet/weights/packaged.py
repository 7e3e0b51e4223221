"""The models that come with the package: their names and folders.

A name is accepted wherever weights are. An existing path takes precedence over a model of the same name: whoever has
such a folder has put it there on purpose.
"""

from pathlib import Path

from harnet.weights.bundle_files import CONFIG

FOLDER = Path(__file__).parent / "open"
"""Holds a folder of weights for each model."""


def model_names() -> list[str]:
    """Names of the packaged models, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}"))


def packaged(name: str) -> Path | None:
    """The folder of the packaged model with this name, if there is one."""
    return FOLDER / name if name in model_names() else None
