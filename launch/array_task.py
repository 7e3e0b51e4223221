"""One task of a job array: runs a `harnet` command on its part, and writes a marker file when it is done."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harnet.console import exit_with
from harnet.files import write_atomically
from launch import slurm

DONE = "done"
"""Folder of marker files, one per finished array task, named after its number."""


@dataclass(frozen=True)
class ArrayTask:
    """`launch.array_task FOLDER COUNT COMMAND OPTIONS...`."""

    folder: Path
    """Folder of the array's markers."""
    count: int
    """Number of array tasks."""
    arguments: list[str]
    """Command line of `harnet`."""

    def run(self) -> int:
        """Process this task's part; mark it only if all of it succeeded. Returns the exit code."""
        from launch.cli import main

        (number,) = slurm.environment("SLURM_ARRAY_TASK_ID")
        code = main([*self.arguments, "--part", f"{number}/{self.count}"])
        if code == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / number, "")
        return code


def done(folder: Path) -> set[int]:
    """Numbers of the finished array tasks."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()} if folder.is_dir() else set()


def main() -> NoReturn:
    """Entry point, started by the array's batch script."""
    folder, count, *arguments = sys.argv[1:]
    exit_with(ArrayTask(Path(folder), int(count), arguments).run)


if __name__ == "__main__":
    main()
