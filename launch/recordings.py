"""What `harnet predict` and `harnet embed` share: device files or a cohort store in, every recording worked on once."""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.cohort.stored import StoredRecording
from data_shards.ingest.daylight import wall_clock
from data_shards.parallel import run_all
from harnet.apply.summaries import RecordingSummary
from harnet.errors import HarnetError
from harnet.weights.config import BundleConfig
from harnet.weights.fingerprint import check_preprocessing
from launch.device_files import FileOptions

STORE = "cohort.zarr"
"""In the output folder: device files at 30 Hz, made once."""
SUMMARIES = "summaries"
"""In the output folder: one small file a recording, written when all else of it is."""


@dataclass(frozen=True)
class Work:
    """One recording's share, done in whatever process; `outcome` files are whole or absent."""

    cohort: Cohort
    """The store."""
    out: Path
    """Output folder."""
    threads: int
    """Of torch, in each process."""
    do: Callable[[StoredRecording, Path], RecordingSummary]
    """Writes what belongs to a recording below the output folder and returns its summary."""

    def __call__(self, recording: str) -> str | None:
        """The reason why the recording could not be worked on; None if it was."""
        torch.set_num_threads(self.threads)
        try:
            summary = self.do(self.cohort.open_recording(recording), self.out)
        except HarnetError as error:
            return str(error)
        summary.save(summary_path(self.out, recording))
        return None


def cohort_of(inputs: Sequence[Path], out: Path, files: FileOptions, workers: int) -> tuple[Cohort, list[str]]:
    """The store that was given, or a new one in `out` with the device files that were; and what could not be read.

    HarnetError if there is no recording to work on.
    """
    if len(inputs) == 1 and (inputs[0] / "zarr.json").is_file():
        return Cohort.open(inputs[0]), []
    # Not above, for the readers' sake; see FileOptions.
    from data_shards.ingest.run import ingest

    outcomes, _ = ingest(inputs, out / STORE, files.ingest_options(), workers)
    refused = [outcome.reason for outcome in outcomes if outcome.status == "refused"]
    if not (out / STORE / "zarr.json").is_file():
        raise HarnetError(refused[0] if refused else f"{inputs[0]}: no recording in there")
    return Cohort.open(out / STORE), refused


def chosen(cohort: Cohort, config: BundleConfig, files: FileOptions, weights: str) -> dict[str, list[str]]:
    """Participant -> recordings, without those of people who withdrew; HarnetError if the weights do not fit them."""
    excluded = files.excluded()
    found: dict[str, list[str]] = defaultdict(list)
    for info in cohort.infos():
        check_preprocessing(config, dict(info.preprocessing), f"{cohort.root}/{info.recording}", weights)
        if info.participant not in excluded:
            found[info.participant].append(info.recording)
    if not found:
        raise HarnetError(f"{cohort.root}: no recording in it to work on")
    return dict(found)


def work_through(
    cohort: Cohort,
    out: Path,
    recordings: Sequence[str],
    do: Callable[[StoredRecording, Path], RecordingSummary],
    workers: int,
    threads: int,
    description: str,
) -> list[str]:
    """Do every recording that has no summary yet; returns the reasons of those that could not be done."""
    (out / SUMMARIES).mkdir(parents=True, exist_ok=True)
    left = [name for name in recordings if not summary_path(out, name).exists()]
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    work = Work(cohort, out, threads, do)
    before = torch.get_num_threads()
    try:
        results = run_all(work, left, workers, description, "recording", len(recordings))
    finally:
        torch.set_num_threads(before)
    return [reason for reason in results if reason is not None]


def summary_path(out: Path, recording: str) -> Path:
    """Where a recording's summary lies."""
    return out / SUMMARIES / f"{recording}.npz"


def summaries(out: Path, participants: dict[str, list[str]]) -> dict[str, list[Path]]:
    """Participant -> summary files that exist."""
    paths = {name: [summary_path(out, each) for each in recordings] for name, recordings in participants.items()}
    return {name: [path for path in found if path.exists()] for name, found in paths.items()}


def wall_of(info: RecordingInfo) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """From seconds on the recording's clock to the wall clock."""
    return partial(wall_clock, shifts=info.wall_shifts)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left unfinished; nobody else may be writing there."""
    for path in folder.glob(".*.tmp") if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def told(out: Path, recordings: int, people: int, days: int, refused: list[str], as_json: bool) -> str:
    """What a command prints at its end: for scripts, or every refusal on a line and the sum."""
    if as_json:
        return json.dumps({"out": str(out), "people": people, "person_days": days, "refused": refused})
    total = f"{out}: {recordings} recordings, {people} people, {days} person-days; {len(refused)} refused"
    return "\n".join([*(f"refused: {reason}" for reason in refused), total])
