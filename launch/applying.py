"""What `harnet embed` and `harnet predict` share: their options, and the way from recordings to tables."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from harnet.apply.inference import Precision
from harnet.apply.recordings import Task
from harnet.claims import claim
from harnet.encoder import find_architecture
from harnet.errors import HarnetError
from harnet.parts import WHOLE, Part
from harnet.weights.bundle import BundleConfig
from launch.device_files import FileOptions
from launch.recordings import (
    InferenceOptions,
    cohort_of,
    is_store,
    remove_leftovers,
    select_recordings,
    summaries,
    work_through,
)

Tables = Callable[[Path, Mapping[str, Sequence[Path]]], tuple[int, int]]
"""Writes the tables of days and people from summary files by participant; returns the rows of each."""


@dataclass(frozen=True)
class ApplyOptions:
    """What is worked on, and by what means."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """One cohort store, or device files and folders; files are brought to 30 Hz in OUT/cohort.zarr first."""
    weights: str
    """Folder, URL, hub id or published checkpoint; for predict, OUT/model of `harnet finetune`."""
    out: Path
    """Folder for the results."""
    step: int | None = None
    """Seconds from one window to the next; by default the length of a window, so that they do not overlap."""
    files: tyro.conf.OmitArgPrefixes[FileOptions] = field(default_factory=FileOptions)
    """What device files do not say themselves."""
    device: str = "cpu"
    """Such as "cpu", "cuda" or "cuda:1"."""
    precision: Precision | None = None
    """fp32, or bf16, which is fast where the processor has it; by default bf16 on a GPU and fp32 on a CPU."""
    batch: int = 64
    """Windows that go through the network at once, from one recording or several; on a GPU some thousands."""
    part: str = WHOLE
    """Of a cohort store, take this share of the recordings, such as 3/100 in an array of jobs, or 2/8 on the second of
    eight GPUs. The tables are written by the same command without --part, when all parts are done."""
    listing: Path | None = None
    """With --part: where the first part keeps the list of recordings, for all others to read; of one array only."""
    workers: int = 1
    """Processes, each with some recordings at a time; on a GPU they share it."""
    threads: int = 0
    """On a CPU, batches that each process computes at once, a thread each; 0 shares the cores out."""
    json: bool = False
    """Print the result as JSON."""

    def cutting(self, config: BundleConfig) -> InferenceOptions:
        """How windows are cut for these weights."""
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
        """Do what is missing and write the tables; returns the exit code, 0 only if every recording was done.

        The output folder belongs to `settings`; `make` makes `folder`, where the results of each recording go.
        """
        part, cutting = Part.parse(self.part), self.cutting(config)
        if part.count > 1 and not is_store(self.inputs):
            raise HarnetError(f"--part {self.part}: takes a cohort store: make one with harnet ingest first")
        claim(
            self.out, {"task": task.name, "step": cutting.step, "precision": cutting.precision, **settings}, task.name
        )
        cohort, failed = cohort_of(self.inputs, self.out, self.files, self.workers, self.listing)
        recordings = part.of(select_recordings(cohort, config, self.files, self.weights))
        make(folder)
        if part.count == 1:
            remove_leftovers(folder)
        failed += work_through(cohort, self.out, recordings, task, cutting, self.workers, self.threads)
        rows = tables(self.out, summaries(self.out, recordings)) if part.count == 1 else None
        print(self._told(len(recordings), rows, failed))
        return int(bool(failed))

    def _told(self, recordings: int, rows: tuple[int, int] | None, refused: list[str]) -> str:
        """What is printed at the end: for scripts, or every refusal on a line and the sum."""
        days, people = rows or (None, None)
        if self.json:
            about = {"out": str(self.out), "recordings": recordings, "people": people, "person_days": days}
            return json.dumps(about | {"refused": refused})
        tables = f"{people} people, {days} person-days" if rows else f"part {self.part}, tables not yet written"
        total = f"{self.out}: {recordings} recordings, {tables}; {len(refused)} refused"
        return "\n".join([*(f"refused: {reason}" for reason in refused), total])
