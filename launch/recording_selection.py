"""The recordings that `harnet embed` and `harnet predict` process, from device files or a store; each only once."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_shards.cohort.info import WallShift
from data_shards.cohort.store import Cohort
from data_shards.cohort.windows import Pieces, worn_windows
from data_shards.ingest.daylight import wall_clock
from data_shards.layout import SECONDS_PER_HOUR
from data_shards.parallel import run_all
from harnet.apply.inference import Precision
from harnet.apply.recordings import Task, WindowedRecording, apply
from harnet.errors import HarnetError
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.fingerprint import check_preprocessing
from launch.device_files import FileOptions

STORE = "cohort.zarr"
"""Cohort store in the output folder: the ingested device files at 30 Hz."""
SUMMARIES = "summaries"
"""Sub-folder of the output with one small file per recording, written after all its other results."""
BATCHES_A_GROUP = 32
"""Minimum number of batches per group of consecutive recordings; only the last batch of a group is not full."""


@dataclass(frozen=True)
class SelectedRecording:
    """A recording to process, with the metadata needed before it is opened."""

    name: str
    """Name in the store."""
    participant: str
    """Pseudonym of the wearer."""
    hours: int
    """Length in hours."""
    wall_shifts: tuple[WallShift, ...]
    """Shifts from the recording's clock to the wall clock."""


@dataclass(frozen=True)
class InferenceOptions:
    """How windows are cut and processed."""

    seconds: int
    """Window length in seconds."""
    step: int
    """Seconds between window starts."""
    batch: int
    """Windows per batch."""
    precision: Precision
    """Numerical precision of the model."""

    def __post_init__(self) -> None:
        if self.step < 1:
            raise HarnetError(f"--step {self.step}: must be whole seconds, at least 1")
        if self.batch < 1:
            raise HarnetError(f"--batch {self.batch}: must be at least 1")

    def grouped(self, recordings: Sequence[SelectedRecording]) -> list[tuple[SelectedRecording, ...]]:
        """Groups of consecutive recordings, each long enough to fill many batches."""
        least_hours = BATCHES_A_GROUP * self.batch * self.step / SECONDS_PER_HOUR
        groups: list[list[SelectedRecording]] = []
        for each in recordings:
            if not groups or sum(other.hours for other in groups[-1]) >= least_hours:
                groups.append([])
            groups[-1].append(each)
        return [tuple(group) for group in groups]


@dataclass(frozen=True)
class Work:
    """Processes a group of recordings, in any worker process."""

    cohort: Cohort
    """The cohort store."""
    out: Path
    """Output folder."""
    threads: int
    """Batches that each process computes at once on a CPU."""
    cutting: InferenceOptions
    """How windows are cut and processed."""
    task: Task
    """What to compute."""

    def __call__(self, group: tuple[SelectedRecording, ...]) -> list[str]:
        """The error messages of those that could not be processed."""
        torch.set_num_threads(1)  # for a batch: see `outputs`
        reasons = []
        recordings = [
            WindowedRecording(each.name, partial(self._windows, each.name), wall_clock_of(each.wall_shifts))
            for each in group
        ]
        for recording, result in apply(self.task, recordings, self.cutting.batch, self.cutting.precision, self.threads):
            if isinstance(result, HarnetError):
                reasons.append(str(result))
            else:
                result.save(summary_path(self.out, recording.name))
        return reasons

    def _windows(self, name: str) -> Pieces:
        return worn_windows(self.cohort.open_recording(name), self.cutting.seconds, self.cutting.step)


def cohort_of(
    inputs: Sequence[Path], out: Path, files: FileOptions, workers: int, listing: Path | None = None
) -> tuple[Cohort, list[str]]:
    """The given cohort store, or a new one in `out` from the given device files; and why files were refused.

    HarnetError if there is no recording to process.
    """
    if is_store(inputs):
        return Cohort.open(inputs[0], listing), []
    # Imported here because the readers take 80 MB; see FileOptions.
    from data_shards.ingest.run import ingest

    outcomes, _ = ingest(inputs, out / STORE, files.ingest_options(), workers)
    refused = [outcome.reason for outcome in outcomes if outcome.status == "refused"]
    if not (out / STORE / "zarr.json").is_file():
        raise HarnetError(refused[0] if refused else f"{inputs[0]}: contains no recording")
    return Cohort.open(out / STORE), refused


def is_store(inputs: Sequence[Path]) -> bool:
    """Whether the input is a single cohort store rather than device files."""
    return len(inputs) == 1 and (inputs[0] / "zarr.json").is_file()


def select_recordings(
    cohort: Cohort, config: BundleConfig, files: FileOptions, weights: str
) -> list[SelectedRecording]:
    """Recordings to process, without those of people who withdrew.

    HarnetError if there are none, or if the preprocessing of one does not match that of the weights.
    """
    excluded = files.excluded()
    found = []
    for info in cohort.infos():
        check_preprocessing(config, dict(info.preprocessing), f"{cohort.root}/{info.recording}", weights)
        if info.participant not in excluded:
            found.append(SelectedRecording(info.recording, info.participant, info.hours, info.wall_shifts))
    if not found:
        raise HarnetError(f"{cohort.root}: contains no recording to process")
    return found


def process_recordings(
    cohort: Cohort,
    out: Path,
    recordings: Sequence[SelectedRecording],
    task: Task,
    cutting: InferenceOptions,
    workers: int,
    threads: int,
) -> list[str]:
    """Process every recording without a summary; returns the error messages of those that failed."""
    (out / SUMMARIES).mkdir(parents=True, exist_ok=True)
    left = [each for each in recordings if not summary_path(out, each.name).exists()]
    work = Work(cohort, out, threads or max(1, (os.cpu_count() or 1) // workers), cutting, task)
    before = torch.get_num_threads()
    try:
        results = run_all(work, cutting.grouped(left), workers, task.name, "recording", len(recordings), counts=len)
    finally:
        torch.set_num_threads(before)
    return [reason for reasons in results for reason in reasons]


def summary_path(out: Path, recording: str) -> Path:
    """Path of a recording's summary."""
    return out / SUMMARIES / f"{recording}.npz"


def summaries(out: Path, recordings: Sequence[SelectedRecording]) -> dict[str, list[Path]]:
    """Participant -> existing summary files."""
    found: dict[str, list[Path]] = {each.participant: [] for each in recordings}
    for each in recordings:
        if (path := summary_path(out, each.name)).exists():
            found[each.participant].append(path)
    return found


def wall_clock_of(shifts: tuple[WallShift, ...]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Function from seconds on the recording's clock to seconds on the wall clock."""
    return partial(wall_clock, shifts=shifts)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files left by a killed run; no other process may be writing to the folder."""
    for path in folder.glob(".*.tmp") if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
