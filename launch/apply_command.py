"""Shared by `harnet embed` and `harnet predict`: their options, and the path from recordings to tables."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import tyro

from harnet.apply.inference import Precision
from harnet.apply.recordings import Task
from harnet.claims import claim
from harnet.encoder import find_architecture
from harnet.errors import HarnetError
from harnet.parts import WHOLE, Part
from harnet.weights.bundle import BundleConfig
from launch.device_files import FileOptions
from launch.recording_selection import (
    InferenceOptions,
    cohort_of,
    is_store,
    process_recordings,
    remove_leftovers,
    select_recordings,
    summaries,
)

Tables = Callable[[Path, Mapping[str, Sequence[Path]]], tuple[int, int]]
"""Writes the person-day and person tables from summary files per participant; returns the number of rows of each."""


@dataclass(frozen=True)
class ApplyOptions:
    """Options of `harnet embed` and `harnet predict`."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """One cohort store, or device files and folders, which are first ingested at 30 Hz into OUT/cohort.zarr."""
    weights: str
    """Folder, packaged model, URL, hub id or published checkpoint; for predict, OUT/model of `harnet finetune`."""
    out: Path | None = None
    """Folder for the results; by default one beside the recording, named after it, or `predicted` or `features` in the
    working directory if there are several inputs."""
    step: int | None = None
    """Seconds between window starts; by default the window length, so that windows do not overlap."""
    files: tyro.conf.OmitArgPrefixes[FileOptions] = field(default_factory=FileOptions)
    """Metadata that device files do not contain."""
    device: str = "cpu"
    """Torch device, such as "cpu", "cuda" or "cuda:1"."""
    precision: Precision | None = None
    """fp32, or bf16, which is faster on hardware that supports it; by default bf16 on a GPU and fp32 on a CPU."""
    batch: int = 32
    """Windows per batch, from one or several recordings; use some thousands on a GPU."""
    part: str = WHOLE
    """Process only this share of a cohort store's recordings, such as 3/100 in a job array, or 2/8 on the second of
    eight GPUs. Once all parts are done, run the same command without --part to write the tables."""
    listing: Path | None = None
    """With --part: path at which the first part stores the list of recordings for the others; use one per array."""
    workers: int = 1
    """Worker processes, each with a group of recordings at a time; they share the GPU."""
    threads: int = 0
    """CPU batches that each process computes concurrently, one thread each; 0 divides the cores evenly."""
    json: bool = False
    """Print the result as JSON."""

    RESULTS: ClassVar[str] = "results"
    """Ends the name of the default output folder."""

    @property
    def folder(self) -> Path:
        """`out`, or its default."""
        if self.out is not None:
            return self.out
        if len(self.inputs) != 1:
            return Path(self.RESULTS)
        given = self.inputs[0].resolve()
        name = given.with_suffix("") if given.suffix in (".gz", ".bz2", ".zip") else given
        return given.with_name(f"{name.stem or name.name}-{self.RESULTS}")

    def cutting(self, config: BundleConfig) -> InferenceOptions:
        """How windows are cut and processed for these weights."""
        seconds = find_architecture(config.architecture, config.width).seconds
        precision = self.precision or ("bf16" if self.device.startswith("cuda") else "fp32")
        return InferenceOptions(seconds, seconds if self.step is None else self.step, self.batch, precision)

    def apply(
        self,
        task: Task,
        config: BundleConfig,
        settings: dict[str, Any],
        folder: Path,
        make: Callable[[Path], object],
        tables: Tables,
    ) -> int:
        """Process the missing recordings and write the tables; the exit code is 0 only if every recording succeeded.

        `settings` identify the results in the output folder (see `claim`); `make` creates `folder`, which holds the
        results of each recording.
        """
        part, cutting = Part.parse(self.part), self.cutting(config)
        if part.count > 1 and not is_store(self.inputs):
            raise HarnetError(f"--part {self.part}: needs a cohort store: create one with harnet ingest first")
        whole = self.folder.resolve()
        if not os.access(next(each for each in (whole, *whole.parents) if each.exists()), os.W_OK):
            raise HarnetError(f"{self.folder}: cannot be written: choose a folder for the results with --out")
        settings = {"task": task.name, "step": cutting.step, "precision": cutting.precision, **settings}
        claim(self.folder, settings, task.name)
        cohort, failed = cohort_of(self.inputs, self.folder, self.files, self.workers, self.listing)
        recordings = part.of(select_recordings(cohort, config, self.files, self.weights))
        make(folder)
        if part.count == 1:
            remove_leftovers(folder)
        failed += process_recordings(cohort, self.folder, recordings, task, cutting, self.workers, self.threads)
        rows = tables(self.folder, summaries(self.folder, recordings)) if part.count == 1 else None
        print(self._result(len(recordings), rows, failed))
        return int(bool(failed))

    def _result(self, recordings: int, rows: tuple[int, int] | None, refused: list[str]) -> str:
        """Final output: JSON for scripts, or one line per refused recording and a summary."""
        days, people = rows or (None, None)
        if self.json:
            about = {"out": str(self.folder), "recordings": recordings, "people": people, "person_days": days}
            return json.dumps(about | {"refused": refused})
        tables = f"{people} people, {days} person-days" if rows else f"part {self.part}, tables not yet written"
        total = f"{self.folder}: {recordings} recordings, {tables}; {len(refused)} refused"
        return "\n".join([*(f"refused: {reason}" for reason in refused), total])
