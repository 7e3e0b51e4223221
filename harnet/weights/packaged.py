"""The models that come with the package: their names, and where each lies.

A name is good wherever weights are taken. A path that exists is meant before the model of the same name: whoever has
such a folder made it.
"""

from pathlib import Path

from harnet.weights.bundle_files import CONFIG

FOLDER = Path(__file__).parent / "open"
"""A folder of weights for each."""


def model_names() -> list[str]:
    """Their names, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}"))


def packaged(name: str) -> Path | None:
    """The folder of the model of that name, if there is one."""
    return FOLDER / name if name in model_names() else None
