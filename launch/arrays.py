"""A Slurm job array over the input of a command, such as `harnet submit ingest`, followed by a verification job.

JobArray task i of n processes part i/n of the input. Finished tasks are recorded as marker files beside the output, so
submitting the same command again submits only the missing tasks, whether or not Slurm still knows the old jobs.
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
from launch.array_task import DONE, done
from launch.batch import BatchJob, environment_of, gpu_request, module, python
from launch.profile import Profile
from launch.shared_files import check_shared
from launch.watch import SECONDS_BETWEEN_LOOKS

MOST = 1000
"""Default limit of array tasks: one less than Slurm's default MaxArraySize."""


@dataclass(frozen=True)
class JobArray:
    """A job array over the independent parts of a command's work."""

    kind: str
    """Sub-command of `harnet`."""
    arguments: tuple[str, ...]
    """Options of the sub-command."""
    inputs: Sequence[Path]
    """Files and folders that it reads."""
    out: Path
    """Its output."""
    items: Sequence[str] = field(repr=False)
    """Names of the work items, in a fixed order."""
    count: int
    """Number of array tasks."""
    verification: tuple[str, ...]
    """Command line of `harnet` that verifies the complete output."""
    profile: Profile
    """The site profile."""
    listed: bool = False
    """Whether the first task lists the inputs for all; otherwise each task would list them itself."""
    gpus: int = 0
    """GPUs per array task, and for the verification job, which does whatever is still missing."""

    @property
    def folder(self) -> Path:
        """Folder of scripts, logs and markers, beside the output."""
        out = self.out.resolve()
        return out.with_name(f"{out.name}.jobs")

    @property
    def markers(self) -> Path:
        """Folder of markers for exactly this work; other options or other input have their own."""
        work = json.dumps([self.kind, self.arguments, self.count, list(self.items)])
        return self.folder / DONE / hashlib.sha256(work.encode()).hexdigest()[:16]

    @property
    def listing(self) -> Path:
        """The list of inputs that the first task writes."""
        return self.markers.with_suffix(".listing")

    @property
    def missing(self) -> list[int]:
        """Numbers of the tasks that are not finished."""
        return sorted(set(range(1, self.count + 1)) - done(self.markers))

    def array_job(self) -> BatchJob:
        """The batch job of the missing tasks."""
        command = [
            python(self.profile), *module("launch.array_task"), str(self.markers), str(self.count), self.kind,
            *self.arguments, *(["--listing", str(self.listing)] if self.listed else []),
        ]  # fmt: skip
        return self._batch(self.kind, command, {"array": ranges(self.missing)})

    def verification_job(self, after: str | None) -> BatchJob:
        """The verification job; it starts when all array tasks have ended, successfully or not."""
        command = [python(self.profile), *module("launch"), *self.verification]
        return self._batch(f"verify-{self.kind}", command, {"dependency": f"afterany:{after}"} if after else {})

    def _batch(self, name: str, command: list[str], more: dict[str, str]) -> BatchJob:
        gpus = {"gpus-per-node": gpu_request(self.profile, self.gpus)} if self.gpus else {}
        return BatchJob(self.folder, self.profile, f"harnet-{name}", command, {"nodes": "1"} | gpus | more)

    def check(self) -> None:
        """Raise a HarnetError for anything that would make all array tasks fail."""
        slurm.check_partition(self.profile.partition)
        if self.gpus:
            slurm.check_gpus(self.profile.partition, 1, self.gpus)
        if not slurm.is_single_node():
            for path in self.inputs:
                check_shared("input", path, self.profile.shared)
            check_shared("output", self.out, self.profile.shared)
            check_shared("Python environment", environment_of(self.profile), self.profile.shared)
        for entry in records.entries(self.folder, SUBMISSIONS)[-1:]:
            alive = [job for number in entry["jobs"] for job in slurm.jobs(number) if job.alive]
            if alive:
                raise HarnetError(
                    f"{self.out}: jobs {', '.join(entry['jobs'])} are still working on it; wait for them "
                    "(squeue --me) or scancel them"
                )
        (self.array_job() if self.missing else self.verification_job(None)).check()

    def submit(self) -> dict[str, object]:
        """Submit the missing tasks and the verification job; returns their job ids and the folder of logs."""
        missing, numbers = self.missing, []
        # Left by an earlier array that has ended; its inputs may have changed since.
        if self.listing.exists():
            shutil.rmtree(self.listing)
        if missing:
            numbers.append(self.array_job().submit())
            self._note(numbers)  # recorded now: these run even if submitting the verification job fails
        numbers.append(self.verification_job(numbers[0] if numbers else None).submit())
        self._note(numbers)
        return {
            "array": numbers[0] if missing else None,
            "tasks": len(missing),
            "done_before": self.count - len(missing),
            "verification": numbers[-1],
            "logs": str(self.folder),
        }

    def _note(self, numbers: list[str]) -> None:
        records.append(self.folder, SUBMISSIONS, {"jobs": numbers, "arguments": [self.kind, *self.arguments]})


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in Slurm's array syntax, such as 1-3,7."""
    pieces: list[list[int]] = []
    for number in sorted(numbers):
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1][1:] = [number]
        else:
            pieces.append([number])
    return ",".join("-".join(map(str, piece)) for piece in pieces)


def files_in(inputs: Iterable[Path]) -> list[str]:
    """Paths of the given files and of all files in the given folders, without opening any.

    Raises:
        HarnetError: an input does not exist, or there are no files.
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
        raise HarnetError("no recordings among the inputs; pass device files or folders that contain some")
    return found


def array_size(items: int, wanted: int, items_per_task: int) -> int:
    """Number of array tasks for `items`: `wanted`, or one per `items_per_task` items if 0; at most the cluster's limit.

    Raises:
        HarnetError: `wanted` is negative or above the limit.
    """
    if wanted < 0:
        raise HarnetError(f"--jobs is {wanted}; it must be at least 1, or 0 to size the array from the input")
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", slurm.run_command("scontrol", "show", "config"))
    most = int(found[1]) - 1 if found else MOST
    if wanted > most:
        raise HarnetError(f"--jobs is {wanted}; this cluster allows arrays of at most {most} tasks")
    return max(1, min(wanted or -(-items // items_per_task), items, most))


def wait_for(verification: str, array: JobArray) -> int:
    """Show the number of finished tasks until the verification job has ended; the exit code is 0 if it succeeded."""
    with bar(array.count, array.kind, "tasks") as shown:
        while True:
            job, silence = slurm.find_job(verification)
            shown.update(array.count - len(array.missing) - shown.n)
            shown.set_postfix_str(silence, refresh=False)
            if not silence and (job is None or not job.alive):
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
    good = job is not None and job.state == "COMPLETED"
    state = job.state if job else "no longer known to Slurm"
    log = array.folder / f"{verification}.log"
    print(f"verification (job {verification}): {state}; its log: {log}", file=sys.stderr)
    return int(not good)
