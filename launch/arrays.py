"""An array of jobs over the input of a command, such as `harnet submit ingest`, then a check of the whole.

Element i of n takes part i/n of the input. What is done is marked in files beside the output, so the same command,
given again, submits only what is missing; Slurm's memory of old jobs is not needed for it.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harnet.errors import HarnetError
from harnet.progress import bar
from harnet.run_folder import SUBMISSIONS
from launch import records, slurm
from launch.batch import BatchJob, environment_of, gpus_asked_for, module, python
from launch.element import DONE, done
from launch.profile import Profile
from launch.shared_files import check_shared
from launch.watch import SECONDS_BETWEEN_LOOKS

MOST = 1000
"""Elements of an array, if the cluster says nothing else: one less than Slurm's default MaxArraySize."""


@dataclass(frozen=True)
class Array:
    """Work that falls into independent parts."""

    kind: str
    """Command of `harnet`."""
    arguments: tuple[str, ...]
    """Options of that command."""
    inputs: Sequence[Path]
    """Files and folders that it reads."""
    out: Path
    """What it makes."""
    items: Sequence[str] = field(repr=False)
    """Names of what there is to do, in a fixed order."""
    count: int
    """Elements."""
    verification: tuple[str, ...]
    """Command line of `harnet` that checks the whole."""
    profile: Profile
    """The site."""
    listed: bool = False
    """Whether the first element lists the inputs for all: else each would ask the file system for all of them."""
    gpus: int = 0
    """GPUs of each element, and of the check, which does what is missing."""

    @property
    def folder(self) -> Path:
        """Scripts, logs and markers; beside the output, which holds nothing but itself."""
        out = self.out.resolve()
        return out.with_name(f"{out.name}.jobs")

    @property
    def markers(self) -> Path:
        """Markers of exactly this work: other options or other input begin anew."""
        work = json.dumps([self.kind, self.arguments, self.count, list(self.items)])
        return self.folder / DONE / hashlib.sha256(work.encode()).hexdigest()[:16]

    @property
    def listing(self) -> Path:
        """The list of inputs that the first element makes."""
        return self.markers.with_suffix(".listing")

    @property
    def missing(self) -> list[int]:
        """Elements that are not done."""
        return sorted(set(range(1, self.count + 1)) - done(self.markers))

    def elements(self) -> BatchJob:
        """The array, of what is missing."""
        command = [
            python(self.profile), *module("launch.element"), str(self.markers), str(self.count), self.kind,
            *self.arguments, *(["--listing", str(self.listing)] if self.listed else []),
        ]  # fmt: skip
        return self._batch(self.kind, command, {"array": ranges(self.missing)})

    def check_of_all(self, after: str | None) -> BatchJob:
        """The job that checks the whole once no element is left, whatever became of them."""
        command = [python(self.profile), *module("launch"), *self.verification]
        return self._batch(f"verify-{self.kind}", command, {"dependency": f"afterany:{after}"} if after else {})

    def _batch(self, name: str, command: list[str], more: dict[str, str]) -> BatchJob:
        gpus = {"gpus-per-node": gpus_asked_for(self.profile, self.gpus)} if self.gpus else {}
        return BatchJob(self.folder, self.profile, f"harnet-{name}", command, {"nodes": "1"} | gpus | more)

    def check(self) -> None:
        """Raise a HarnetError, in one line, for what would make all elements fail."""
        slurm.check_partition(self.profile.partition)
        if self.gpus:
            slurm.check_gpus(self.profile.partition, 1, self.gpus)
        if not slurm.only_here():
            for path in self.inputs:
                check_shared("input", path, self.profile.shared)
            check_shared("output", self.out, self.profile.shared)
            check_shared("Python environment", environment_of(self.profile), self.profile.shared)
        for entry in records.entries(self.folder, SUBMISSIONS)[-1:]:
            alive = [job for number in entry["jobs"] for job in slurm.jobs(number) if job.alive]
            if alive:
                raise HarnetError(
                    f"{self.out}: jobs {', '.join(entry['jobs'])} work on it still; wait (squeue --me) or scancel them"
                )
        (self.elements() if self.missing else self.check_of_all(None)).check()

    def submit(self) -> dict[str, object]:
        """Queue what is missing and the check; return their numbers and where the logs are."""
        missing, numbers = self.missing, []
        # Of an earlier array, which has ended: what it listed may have changed.
        shutil.rmtree(self.listing, ignore_errors=True)
        if missing:
            numbers.append(self.elements().submit())
            self._note(numbers)  # now: should the check not be taken, these are at work all the same
        numbers.append(self.check_of_all(numbers[0] if numbers else None).submit())
        self._note(numbers)
        return {
            "array": numbers[0] if missing else None,
            "elements": len(missing),
            "done_before": self.count - len(missing),
            "verification": numbers[-1],
            "logs": str(self.folder),
        }

    def _note(self, numbers: list[str]) -> None:
        records.append(self.folder, SUBMISSIONS, {"jobs": numbers, "arguments": [self.kind, *self.arguments]})


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as Slurm writes them: 1-3,7."""
    pieces: list[list[int]] = []
    for number in sorted(numbers):
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1][1:] = [number]
        else:
            pieces.append([number])
    return ",".join("-".join(map(str, piece)) for piece in pieces)


def files_in(inputs: Iterable[Path]) -> list[str]:
    """Paths of the files named and of those inside the folders named, none of them opened.

    Raises:
        HarnetError: one is not there, or there is no file at all.
    """
    found: list[str] = []
    for path in inputs:
        if path.is_dir():
            found += sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        elif path.exists():
            found.append(str(path))
        else:
            raise HarnetError(f"{path}: no such file or folder")
    if not found:
        raise HarnetError("no recordings among the inputs; name device files or folders that hold some")
    return found


def size(items: int, wanted: int, per_element: int) -> int:
    """Elements for so many items: as wanted, else so that each has a fair piece of work; never more than allowed."""
    if wanted < 0:
        raise HarnetError(f"--jobs is {wanted}; it must be at least 1, or 0 to size the array from the input")
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", slurm.run_command("scontrol", "show", "config"))
    most = int(found[1]) - 1 if found else MOST
    if wanted > most:
        raise HarnetError(f"--jobs is {wanted}; this cluster allows arrays of {most} elements")
    return max(1, min(wanted or -(-items // per_element), items, most))


def wait_for(verification: str, array: Array) -> int:
    """Show how many elements are done until the check has ended; 0 if all was good."""
    with bar(array.count, array.kind, "elements") as shown:
        while True:
            job, silence = slurm.find_job(verification)
            shown.update(array.count - len(array.missing) - shown.n)
            shown.set_postfix_str(silence, refresh=False)
            if not silence and (job is None or not job.alive):
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
    good = job is not None and job.state == "COMPLETED"
    state = job.state if job else "forgotten by Slurm"
    log = array.folder / f"{verification}.log"
    print(f"verification (job {verification}): {state}; its log: {log}", file=sys.stderr)
    return int(not good)
