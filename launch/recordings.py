"""The recordings that `harnet embed` and `harnet predict` work on, from device files or a store; each done once."""

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
"""In the output folder: device files at 30 Hz, made once."""
SUMMARIES = "summaries"
"""In the output folder: one small file a recording, written when all else of it is."""
BATCHES_A_GROUP = 32
"""Least number of batches that a process fills from consecutive recordings: only the last of them is not full."""


@dataclass(frozen=True)
class SelectedRecording:
    """A recording to work on, and what has to be known of it before it is opened."""

    name: str
    """In the store."""
    participant: str
    """Whose it is."""
    hours: int
    """Its length."""
    wall_shifts: tuple[WallShift, ...]
    """From its clock to the wall clock."""


@dataclass(frozen=True)
class InferenceOptions:
    """How windows are cut and go through the model."""

    seconds: int
    """Length of a window."""
    step: int
    """Seconds from one window's start to the next one's."""
    batch: int
    """Windows that go through the model at once."""
    precision: Precision
    """Of the model's arithmetic."""

    def __post_init__(self) -> None:
        if self.step < 1:
            raise HarnetError(f"--step {self.step}: give whole seconds, at least 1")
        if self.batch < 1:
            raise HarnetError(f"--batch {self.batch}: give at least 1")

    def grouped(self, recordings: Sequence[SelectedRecording]) -> list[tuple[SelectedRecording, ...]]:
        """Consecutive recordings, together long enough for many full batches."""
        wanted = BATCHES_A_GROUP * self.batch * self.step / SECONDS_PER_HOUR
        groups: list[list[SelectedRecording]] = []
        for each in recordings:
            if not groups or sum(other.hours for other in groups[-1]) >= wanted:
                groups.append([])
            groups[-1].append(each)
        return [tuple(group) for group in groups]


@dataclass(frozen=True)
class Work:
    """What is done with a group of recordings, in whatever process."""

    cohort: Cohort
    """The store."""
    out: Path
    """Output folder."""
    threads: int
    """Batches that each process computes at once on a CPU."""
    cutting: InferenceOptions
    """How windows are cut."""
    task: Task
    """What becomes of them."""

    def __call__(self, group: tuple[SelectedRecording, ...]) -> list[str]:
        """The reasons why some could not be worked on."""
        torch.set_num_threads(1)  # for a batch: see `outputs`
        reasons = []
        recordings = [
            WindowedRecording(each.name, partial(self._windows, each.name), wall_of(each.wall_shifts)) for each in group
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
    """The store that was given, or a new one in `out` with the device files that were; and what could not be read.

    HarnetError if there is no recording to work on.
    """
    if is_store(inputs):
        return Cohort.open(inputs[0], listing), []
    # Not above, for the readers' sake; see FileOptions.
    from data_shards.ingest.run import ingest

    outcomes, _ = ingest(inputs, out / STORE, files.ingest_options(), workers)
    refused = [outcome.reason for outcome in outcomes if outcome.status == "refused"]
    if not (out / STORE / "zarr.json").is_file():
        raise HarnetError(refused[0] if refused else f"{inputs[0]}: no recording in there")
    return Cohort.open(out / STORE), refused


def is_store(inputs: Sequence[Path]) -> bool:
    """Whether the input is one cohort store, not device files."""
    return len(inputs) == 1 and (inputs[0] / "zarr.json").is_file()


def select_recordings(
    cohort: Cohort, config: BundleConfig, files: FileOptions, weights: str
) -> list[SelectedRecording]:
    """The recordings but those of people who withdrew; HarnetError if there is none or the weights do not fit one."""
    excluded = files.excluded()
    found = []
    for info in cohort.infos():
        check_preprocessing(config, dict(info.preprocessing), f"{cohort.root}/{info.recording}", weights)
        if info.participant not in excluded:
            found.append(SelectedRecording(info.recording, info.participant, info.hours, info.wall_shifts))
    if not found:
        raise HarnetError(f"{cohort.root}: no recording in it to work on")
    return found


def work_through(
    cohort: Cohort,
    out: Path,
    recordings: Sequence[SelectedRecording],
    task: Task,
    cutting: InferenceOptions,
    workers: int,
    threads: int,
) -> list[str]:
    """Do every recording that has no summary yet; returns the reasons of those that could not be done."""
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
    """Where a recording's summary lies."""
    return out / SUMMARIES / f"{recording}.npz"


def summaries(out: Path, recordings: Sequence[SelectedRecording]) -> dict[str, list[Path]]:
    """Participant -> summary files that exist."""
    found: dict[str, list[Path]] = {each.participant: [] for each in recordings}
    for each in recordings:
        if (path := summary_path(out, each.name)).exists():
            found[each.participant].append(path)
    return found


def wall_of(shifts: tuple[WallShift, ...]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """From seconds on the recording's clock to the wall clock."""
    return partial(wall_clock, shifts=shifts)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left unfinished; nobody else may be writing there."""
    for path in folder.glob(".*.tmp") if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
