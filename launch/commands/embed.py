"""`harnet embed`: recordings and weights → features of every worn window, and their means by person-day and person."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import tyro

from data_shards.cohort.stored import StoredRecording
from data_shards.cohort.windows import count_worn_windows, worn_windows
from harnet.apply.embed import FeatureStore, Stored, embed, open_root
from harnet.apply.summaries import RecordingSummary
from harnet.apply.tables import write_features
from harnet.claims import claim
from harnet.encoder import Encoder, find_architecture
from harnet.weights.load import load_encoder, read_bundle
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

FEATURES = "features.zarr"
"""In the output folder: one group a recording."""


@dataclass(frozen=True)
class Command:
    """Turn every worn window of device files or of a cohort store into features, and average them by day and person.

    Writes OUT/features.zarr (a group a recording: features, time), OUT/person_days.parquet and OUT/people.parquet. Run
    again, it does what is missing. The tables name participants by their pseudonyms.

    Example:
        harnet embed cohort.zarr --weights weights --out features --workers 8
        harnet embed recordings/*.cwa --weights weights --out features --store none
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """One cohort store, or device files and folders; files are brought to 30 Hz in OUT/cohort.zarr first."""
    weights: str
    """Folder, URL, hub id or published checkpoint."""
    out: Path
    """Folder for the results."""
    store: Stored = "float32"
    """How features are stored, or "none" to keep their means alone. float16 halves 35 MB a person-day."""
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
        """Embed; 0 only if every recording was done."""
        bundle = read_bundle(self.weights)
        config, digest = bundle.config, bundle.digest
        del bundle  # each process loads the tensors for itself
        architecture = find_architecture(config.architecture, config.width)
        step = architecture.seconds if self.step is None else self.step
        claim(
            self.out,
            {"task": "embed", "weights": digest, "step": step, "store": self.store},
            "features",
        )
        cohort, failed = cohort_of(self.inputs, self.out, self.files, self.workers)
        participants = chosen(cohort, config, self.files, self.weights)
        recordings = [name for names in participants.values() for name in names]
        if self.store != "none":
            open_root(self.out / FEATURES)
            remove_leftovers(self.out / FEATURES)
        do = _Embed(self.weights, self.device, self.batch, architecture.seconds, step, self.store)
        failed += work_through(cohort, self.out, recordings, do, self.workers, self.threads, "embed")
        days, people = write_features(self.out, summaries(self.out, participants), architecture.features)
        print(told(self.out, len(recordings), people, days, failed, self.json))
        return int(bool(failed))


@dataclass(frozen=True)
class _Embed:
    """The work on one recording, as it is sent to other processes."""

    weights: str
    device: str
    batch: int
    seconds: int
    step: int
    stored: Stored

    def __call__(self, stored: StoredRecording, out: Path) -> RecordingSummary:
        store = None
        if self.stored != "none":
            count = count_worn_windows(stored, self.seconds, self.step)
            store = FeatureStore(out / FEATURES / stored.info.recording, count, self.stored)
        pieces = worn_windows(stored, self.seconds, self.step)
        return embed(_encoder(self.weights, self.device), pieces, wall_of(stored.info), self.batch, self.step, store)


@lru_cache(maxsize=1)
def _encoder(weights: str, device: str) -> Encoder:
    """Loaded once in each process."""
    return load_encoder(weights, device)
