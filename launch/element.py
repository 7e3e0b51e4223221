"""One element of a job array: a command of `harnet` for its part, and a marker when that is done."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harnet.console import exit_with
from harnet.files import write_atomically
from launch import slurm

DONE = "done"
"""Folder of markers, one a finished element, named after its number."""


@dataclass(frozen=True)
class Element:
    """`launch.element FOLDER COUNT COMMAND OPTIONS...`."""

    folder: Path
    """Where markers of this array go."""
    count: int
    """Elements in all."""
    arguments: list[str]
    """A command line of `harnet`."""

    def run(self) -> int:
        """Do this element's part; mark it only if all of it was done."""
        from launch.cli import main

        (number,) = slurm.environment("SLURM_ARRAY_TASK_ID")
        code = main([*self.arguments, "--part", f"{number}/{self.count}"])
        if code == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / number, "")
        return code


def done(folder: Path) -> set[int]:
    """Numbers of the elements that are marked."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()} if folder.is_dir() else set()


def main() -> NoReturn:
    """The array's batch script starts this."""
    folder, count, *arguments = sys.argv[1:]
    exit_with(Element(Path(folder), int(count), arguments).run)


if __name__ == "__main__":
    main()
