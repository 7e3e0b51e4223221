"""`harnet embed`: recordings and weights → features of every worn window, and means per person-day and person."""

from dataclasses import dataclass
from functools import partial

from harnet.apply.embed import FEATURES, Embedding, Stored, open_root
from harnet.apply.summary_tables import write_features
from harnet.encoder import find_architecture
from harnet.weights.load import read_bundle
from launch.apply_command import ApplyOptions


@dataclass(frozen=True)
class Command(ApplyOptions):
    """Compute features of every worn window of device files or a cohort store, and average them per day and person.

    Writes OUT/features.zarr (one group per recording: features, time), OUT/person_days.parquet and OUT/people.parquet.
    Running the same command again does only what is missing. The tables contain the participants' pseudonyms.

    Example:
        harnet embed cohort.zarr --weights weights --out features --workers 8
        harnet embed recordings/*.cwa --weights weights --out features --store none
        harnet embed cohort.zarr --weights weights --out features --device cuda:1 --batch 4096 --part 2/8
    """

    RESULTS = "features"

    store: Stored = "float32"
    """Dtype of stored features, or "none" to store only their means. float16 halves the 35 MB per person-day."""

    stages: tuple[int, ...] = (5,)
    """Encoder stages whose features are concatenated; 2 3 4 5 gave better linear classifiers than 5 alone."""

    def run(self) -> int:
        """Embed; the exit code is 0 only if every recording succeeded."""
        bundle = read_bundle(self.weights)
        config, digest = bundle.config, bundle.digest
        del bundle  # each worker process loads the tensors itself
        size = find_architecture(config.architecture, config.width).features_of(self.stages)
        task = Embedding(self.weights, self.device, self.folder, self.cutting(config).step, self.store, self.stages)
        return self.apply(
            task,
            config,
            {"weights": digest, "store": self.store, "stages": " ".join(map(str, sorted(self.stages)))},
            self.folder / FEATURES,
            open_root if self.store != "none" else lambda folder: None,
            partial(write_features, size=size),
        )
