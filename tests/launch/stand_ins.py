"""Stand-ins for Slurm's commands: small shell scripts on the PATH."""

from pathlib import Path


def stand_in(folder: Path, name: str, script: str) -> None:
    """A command of that name in `folder`, for /bin/sh."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
