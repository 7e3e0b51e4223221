"""`harnet embed`: recordings and weights → features of every worn window, and their means by person-day and person."""

from dataclasses import dataclass
from functools import partial

from harnet.apply.embed import FEATURES, Embedding, Stored, open_root
from harnet.apply.summary_tables import write_features
from harnet.encoder import find_architecture
from harnet.weights.load import read_bundle
from launch.applying import ApplyOptions


@dataclass(frozen=True)
class Command(ApplyOptions):
    """Turn every worn window of device files or of a cohort store into features, and average them by day and person.

    Writes OUT/features.zarr (a group a recording: features, time), OUT/person_days.parquet and OUT/people.parquet. Run
    again, it does what is missing. The tables name participants by their pseudonyms.

    Example:
        harnet embed cohort.zarr --weights weights --out features --workers 8
        harnet embed recordings/*.cwa --weights weights --out features --store none
        harnet embed cohort.zarr --weights weights --out features --device cuda:1 --batch 4096 --part 2/8
    """

    store: Stored = "float32"
    """How features are stored, or "none" to keep their means alone. float16 halves 35 MB a person-day."""

    stages: tuple[int, ...] = (5,)
    """Whose features, side by side: the last stage's alone; 2 3 4 5 served linear classifiers better."""

    def run(self) -> int:
        """Embed; 0 only if every recording was done."""
        bundle = read_bundle(self.weights)
        config, digest = bundle.config, bundle.digest
        del bundle  # each process loads the tensors for itself
        size = find_architecture(config.architecture, config.width).features_of(self.stages)
        task = Embedding(self.weights, self.device, self.out, self.cutting(config).step, self.store, self.stages)
        return self.apply(
            task,
            config,
            {"weights": digest, "store": self.store, "stages": " ".join(map(str, sorted(self.stages)))},
            self.out / FEATURES,
            open_root if self.store != "none" else lambda folder: None,
            partial(write_features, size=size),
        )
