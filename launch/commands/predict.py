"""`harnet predict`: recordings and a fine-tuned model → classes over time, and minutes per person-day and person."""

from dataclasses import dataclass
from functools import partial

from harnet.apply.predict import WINDOWS, Prediction
from harnet.apply.smoothing import Smoother
from harnet.apply.summary_tables import write_minutes
from harnet.errors import HarnetError
from harnet.weights.load import read_bundle
from launch.applying import ApplyOptions


@dataclass(frozen=True)
class Command(ApplyOptions):
    """Classify every worn window of device files or a cohort store, and sum up minutes per day and person.

    Writes OUT/windows/RECORDING.parquet (time, class, probabilities), OUT/person_days.csv and OUT/people.csv. Running
    the same command again does only what is missing. The tables contain the participants' pseudonyms.

    Example:
        harnet predict recordings/*.cwa --weights results/model --out predicted
        harnet predict cohort.zarr --weights results/model --out predicted --smooth 300 --workers 8
    """

    smooth: float | None = None
    """Smooth the classes over time with a hidden Markov model whose bouts last this many seconds on average."""

    def run(self) -> int:
        """Predict; the exit code is 0 only if every recording succeeded."""
        bundle = read_bundle(self.weights)
        config, digest = bundle.config, bundle.digest
        if not config.classes:
            raise HarnetError(f"{self.weights}: holds an encoder without a classifier: fine-tune it first")
        del bundle  # each worker process loads the tensors itself
        step = self.cutting(config).step
        smoother = None if self.smooth is None else Smoother(self.smooth, step)
        return self.apply(
            Prediction(self.weights, self.device, self.out, step, smoother),
            config,
            {"weights": digest, "smooth": self.smooth},
            self.out / WINDOWS,
            lambda folder: folder.mkdir(exist_ok=True),
            partial(write_minutes, classes=config.classes),
        )
