"""`make open-weights DATA=FOLDER`: train an encoder on openly licensed recordings, from device files to weights.

Every stage is a command that a user could type; it is printed before it runs. The same command resumes after an
interruption. On the CPU the same recordings, seed and number of threads give byte-identical weights.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from harnet.console import exit_with, guarded
from harnet.errors import HarnetError
from launch.open_classifier import package
from launch.stage import stage

PEOPLE_IN_NAMES = r"/([^/]+)__[^/]*\.parquet$"
"""Participant in the names of Parquet copies, PERSON__RECORDING.parquet; other files follow their reader's rule."""


@dataclass(frozen=True)
class Recordings:
    """A data set whose licence permits training."""

    title: str
    """Title and authors."""
    licence: str
    """Licence, as reported."""


SOURCES: dict[str, Recordings] = {
    "nurse-stress-e4": Recordings("nurses at work (Hosseini et al. 2022, Dryad 10.5061/dryad.5hqbzkh6f)", "CC0"),
    "exam-stress-e4": Recordings("students in exams (PhysioNet wearable-exam-stress 1.0.0)", "ODC-By 1.0"),
    "stress_predict": Recordings("lab tasks (Iqbal et al. 2022, Stress-Predict)", "MIT"),
    "umafall": Recordings("daily activities and falls (Casilari et al., UMAFall)", "CC BY 4.0"),
    "uwash-inwild": Recordings("hand washing in daily life (UWash)", "MIT"),
    "quiroz-walking": Recordings("walking (Quiroz et al., emotion-recognition-walking-acc)", "MIT"),
}
"""Sub-folder of DATA -> data set. Evaluation benchmarks must never be added here."""


@dataclass(frozen=True)
class Rebuild:
    """Train an encoder on the open recordings in a folder and export it.

    Example: python -m launch.open_weights recordings/ --out weights/ --work open-weights/
    """

    data: tyro.conf.Positional[Path]
    """Folder with one sub-folder per data set, named as in docs/open-weights.md; missing ones are skipped."""
    out: Path = Path("open-weights/weights")
    """Folder of weights to write."""
    work: Path = Path("open-weights")
    """Folder for the cohort store, the shards and the training run."""
    config: str = "open-weights"
    """Configuration of the training run."""
    workers: int = 2
    """Worker processes that read recordings."""
    run_folder: Path | None = None
    """Existing training run to use instead of training on the recordings."""
    ema: bool = True
    """Export the moving average of the weights."""
    labelled: Path | None = None
    """Folder with selfback and dsads-wrists, on which the activity classifier is trained; default: the data folder."""
    package: bool = False
    """Put encoder and classifier into the package, and write their figures to README.md and docs/open-weights.md."""
    options: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Further options of `harnet pretrain`, after --."""

    def run(self) -> int:
        """Run all stages that are not done yet."""
        present = [name for name in SOURCES if (self.data / name).is_dir()]
        if not present:
            raise HarnetError(
                f"{self.data}: contains none of {', '.join(SOURCES)}: docs/open-weights.md says where to get them"
            )
        for name in SOURCES:
            print(
                f"{name}: {'' if name in present else 'skipped, not in ' + str(self.data) + ': '}{SOURCES[name].title}"
            )
        run = self.run_folder or self._trained(present)
        terms = "Openly licensed recordings: " + "; ".join(
            f"{SOURCES[name].title}: {SOURCES[name].licence}" for name in present
        )
        average = ("--ema",) if self.ema else ()
        stage("export", run, "--out", self.out, "--data-use-terms", terms, *average)
        if self.package:
            package(self.out, self.labelled or self.data)
        return 0

    def _trained(self, present: list[str]) -> Path:
        """The run folder, from the recordings in these sub-folders."""
        cohort, shards, run = self.work / "cohort.zarr", self.work / "shards", self.work / "run"
        for name in present:
            folder = (self.data / name).resolve()
            pattern = ("--participant-pattern", PEOPLE_IN_NAMES) if next(folder.rglob("*__*.parquet"), None) else ()
            # Recordings that are too short or irregular are listed and do not stop the others.
            stage("ingest", folder, "--out", cohort, "--workers", self.workers, *pattern, may_refuse=True)
        stage("shard", cohort, "--out", shards, "--quality", "none", "--workers", self.workers)
        where = ("--data.shards", shards, "--run.out", run)
        stage("pretrain", "--config", self.config, "--run.device", "cpu", *where, *self.options)
        return run


if __name__ == "__main__":
    exit_with(lambda: guarded("open-weights", "train,apply", tyro.cli(Rebuild, prog="open-weights").run))
