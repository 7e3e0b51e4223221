"""`harnet predict`: recordings and a fine-tuned model → classes in time, and minutes by person-day and person."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import tyro

from data_shards.cohort.stored import StoredRecording
from data_shards.cohort.windows import worn_windows
from harnet.apply.predict import predict, summary_of, write_predictions
from harnet.apply.smoothing import Smoother
from harnet.apply.summaries import RecordingSummary
from harnet.apply.tables import write_minutes
from harnet.claims import claim
from harnet.encoder import find_architecture
from harnet.errors import HarnetError
from harnet.heads import ClassifierModel
from harnet.weights.load import load_classifier, read_bundle
from launch.device_files import FileOptions
from launch.recordings import (
    chosen,
    cohort_of,
    remove_leftovers,
    summaries,
    told,
    wall_of,
    work_through,
)

WINDOWS = "windows"
"""In the output folder: one Parquet file a recording."""


@dataclass(frozen=True)
class Command:
    """Classify every worn window of device files or of a cohort store, and add up minutes by day and person.

    Writes OUT/windows/RECORDING.parquet (time, class, probabilities), OUT/person_days.csv and OUT/people.csv. Run
    again, it does what is missing. The tables name participants by their pseudonyms.

    Example:
        harnet predict recordings/*.cwa --weights results/model --out predicted
        harnet predict cohort.zarr --weights results/model --out predicted --smooth 300 --workers 8
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """One cohort store, or device files and folders; files are brought to 30 Hz in OUT/cohort.zarr first."""
    weights: str
    """A fine-tuned model: OUT/model of `harnet finetune`."""
    out: Path
    """Folder for the results."""
    smooth: float | None = None
    """Smooth the classes in time by a hidden Markov model whose bouts last so many seconds on average."""
    step: int | None = None
    """Seconds from one window to the next; by default the length of a window, so that they do not overlap."""
    files: tyro.conf.OmitArgPrefixes[FileOptions] = field(default_factory=FileOptions)
    """What device files do not say themselves."""
    device: str = "cpu"
    """Such as "cpu", "cuda" or "cuda:1"."""
    batch: int = 64
    """Windows that go through the network at once; on a GPU some thousands."""
    workers: int = 1
    """Processes, each with a recording at a time."""
    threads: int = 0
    """CPU threads of each process; 0 shares the cores out."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Predict; 0 only if every recording was done."""
        bundle = read_bundle(self.weights)
        config, digest = bundle.config, bundle.digest
        if not config.classes:
            raise HarnetError(f"{self.weights}: holds an encoder without a classifier: fine-tune it first")
        del bundle  # each process loads the tensors for itself
        seconds = find_architecture(config.architecture).seconds
        step = seconds if self.step is None else self.step
        smoother = None if self.smooth is None else Smoother(self.smooth, step)
        claim(
            self.out,
            {"task": "predict", "weights": digest, "step": step, "smooth": self.smooth},
            "predictions",
        )
        cohort, failed = cohort_of(self.inputs, self.out, self.files, self.workers)
        participants = chosen(cohort, config, self.files, self.weights)
        recordings = [name for names in participants.values() for name in names]
        (self.out / WINDOWS).mkdir(exist_ok=True)
        remove_leftovers(self.out / WINDOWS)
        do = _Predict(self.weights, self.device, self.batch, seconds, step, smoother)
        failed += work_through(cohort, self.out, recordings, do, self.workers, self.threads, "predict")
        days, people = write_minutes(self.out, summaries(self.out, participants), config.classes)
        print(told(self.out, len(recordings), people, days, failed, self.json))
        return int(bool(failed))


@dataclass(frozen=True)
class _Predict:
    """The work on one recording, as it is sent to other processes."""

    weights: str
    device: str
    batch: int
    seconds: int
    step: int
    smoother: Smoother | None

    def __call__(self, stored: StoredRecording, out: Path) -> RecordingSummary:
        model, classes = _model(self.weights, self.device)
        pieces = worn_windows(stored, self.seconds, self.step)
        found = predict(model, len(classes), pieces, wall_of(stored.info), self.batch, self.smoother)
        write_predictions(out / WINDOWS / f"{stored.info.recording}.parquet", found, classes)
        return summary_of(found, len(classes), self.step)


@lru_cache(maxsize=1)
def _model(weights: str, device: str) -> tuple[ClassifierModel, tuple[str, ...]]:
    """Loaded once in each process."""
    return load_classifier(weights, device)
