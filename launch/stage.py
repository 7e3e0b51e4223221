"""Runs a `harnet` command as a stage of a longer script, printed as a user would type it."""

import shlex
from pathlib import Path

from launch.cli import main


def stage(*command: str | int | Path, title: str = "", may_refuse: bool = False) -> None:
    """Print and run a command, below a title if one is given; if it fails, the script exits with its exit code.

    `may_refuse` accepts exit code 1, which `harnet ingest` returns if it refused some of the recordings.
    """
    words = [str(word) for word in command]
    print(f"\n== {title}" if title else "")
    print(f"$ harnet {shlex.join(words)}", flush=True)
    code = main(words)
    if code > may_refuse:
        raise SystemExit(code)
