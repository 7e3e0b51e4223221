"""`harnet predict`: recordings and a fine-tuned model → classes over time, and minutes per person-day and person."""

from dataclasses import dataclass
from functools import partial

from data_shards.cohort.store import Cohort
from harnet.apply.minutes_summary import minutes_lines
from harnet.apply.predict import WINDOWS, Prediction
from harnet.apply.smoothing import Smoother
from harnet.apply.summary_tables import write_minutes
from harnet.apply.week_plot import draw
from harnet.errors import HarnetError
from harnet.parts import WHOLE
from harnet.weights.load import read_bundle
from launch.apply_command import ApplyOptions
from launch.recording_selection import STORE, is_store
from launch.recording_warnings import recording_warnings

PICTURES = "pictures"
"""Folder in the output folder: a PNG per recording."""
MOST_PICTURES = 20
"""Maximum number of recordings to plot; if there are more, none is plotted."""


@dataclass(frozen=True)
class Command(ApplyOptions):
    """Classify every worn window of device files or a cohort store, and sum up minutes per day and person.

    Without --weights it uses the included classifier: lying, sitting or standing, walking, stairs, running;
    `harnet inspect activity-open` shows its accuracy. Not a medical device.

    Writes OUT/windows/RECORDING.parquet (time, class, probabilities), OUT/person_days.csv, OUT/people.csv and, for up
    to 20 recordings, plots OUT/pictures/RECORDING.png. Running the same command again does only what is missing. The
    tables contain the participants' pseudonyms.

    Example:
        harnet predict recording.cwa
        harnet predict recordings/*.cwa --weights results/model --out predicted
        harnet predict cohort.zarr --weights results/model --out predicted --smooth 300 --workers 8
    """

    RESULTS = "predicted"

    weights: str = "activity-open"
    """Packaged model, or OUT/model of `harnet finetune`, or another folder or URL of a classifier."""
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
        code = self.apply(
            Prediction(self.weights, self.device, self.folder, step, smoother),
            config,
            {"weights": digest, "smooth": self.smooth},
            self.folder / WINDOWS,
            lambda folder: folder.mkdir(exist_ok=True),
            partial(write_minutes, classes=config.classes),
        )
        if not self.json and self.part == WHOLE:
            self._report(config.classes, step)
        return code

    def _report(self, classes: tuple[str, ...], step: int) -> None:
        """Print minutes and warnings, and draw the plots."""
        cohort = Cohort.open(self.inputs[0] if is_store(self.inputs) else self.folder / STORE)
        excluded = self.files.excluded()
        lines = recording_warnings(info for info in cohort.infos() if info.participant not in excluded)
        print("\n".join(["", *minutes_lines(self.folder, classes), *lines]))
        tables = sorted((self.folder / WINDOWS).glob("*.parquet"))
        if len(tables) > MOST_PICTURES:
            return
        (self.folder / PICTURES).mkdir(exist_ok=True)
        try:
            for table in tables:
                draw(table, classes, step, self.folder / PICTURES / f"{table.stem}.png")
        except ModuleNotFoundError as error:
            print(f"no pictures: pip install {error.name}")
        else:
            print(f"pictures: {self.folder / PICTURES}")
