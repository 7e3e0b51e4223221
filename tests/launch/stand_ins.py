"""Stand-ins for Slurm's commands: small shell scripts on the PATH."""

from pathlib import Path


def stand_in(folder: Path, name: str, script: str) -> None:
    """Write a /bin/sh command of that name into `folder`."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
