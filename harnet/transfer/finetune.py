"""Cross-validated fine-tuning with held-out people, resumable, followed by a final model trained on everybody.

An arm is a starting point: pretrained weights (fine-tuned, or frozen below a trained classifier) or random weights
(scratch). All arms share the folds, the windows and the recipe. Each fold is written as soon as it is finished, and
the same command resumes after the last one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harnet.claims import claim
from harnet.determinism import deterministic_convolutions
from harnet.encoder import PUBLISHED_WIDTH, find_architecture
from harnet.errors import HarnetError
from harnet.files import write_atomically
from harnet.heads import ClassifierModel
from harnet.progress import bar
from harnet.transfer.classifier_fit import TrainingConfig, fit_classifier, predict
from harnet.transfer.folds import people_folds, set_aside
from harnet.transfer.labelled_windows import LabelledWindows, read_windows
from harnet.transfer.metrics import PersonScore, confusion, score_person, summarise
from harnet.weights.bundle import save
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.load import Bundle, classifier_on, read_bundle

SCRATCH = "scratch"
RESULTS = "results.json"
FINAL_MODEL = "model"


@dataclass(frozen=True)
class FinetuneConfig:
    """Configuration of a fine-tuning experiment. HarnetError if options contradict each other."""

    data: Path
    """Folder with X.npy, Y.npy and pid.npy; see `harnet.transfer.labelled_windows.read_windows`."""
    out: Path
    """Folder for the results; created if missing."""
    training: TrainingConfig
    """The recipe, the same for every fold and arm."""
    weights: str | None = None
    """Bundle folder or URL to start from; None trains from scratch."""
    architecture: str | None = None
    """Name of the encoder; required without weights, otherwise taken from the weights."""
    standardise: bool = True
    """Without weights: standardise each window inside the encoder. Otherwise taken from the weights."""
    folds: int | None = None
    """Number of folds; a person is never split over folds. None leaves one person out at a time."""
    compare_scratch: bool = False
    """Also train the same architecture from scratch on the same folds."""
    final_model: bool = True
    """After the folds, train on everybody and save that model."""

    def __post_init__(self) -> None:
        if self.weights is None and self.architecture is None:
            raise HarnetError("training from scratch needs a model: one of harnet5, harnet10, harnet30")
        if self.weights is None and (self.training.freeze_encoder or self.compare_scratch):
            option = "freeze_encoder" if self.training.freeze_encoder else "compare_scratch"
            raise HarnetError(f"{option} needs weights: pass a folder of weights or omit {option}")


@dataclass(frozen=True)
class _Start:
    """Starting point of every model in an experiment."""

    architecture: str
    standardise: bool
    width: int
    bundle: Bundle | None
    weights: str

    def model(self, arm: str, classes: int, seed: int) -> ClassifierModel:
        """An untrained model; its random parameters depend only on `seed`, and the global generator is not advanced."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if arm == SCRATCH or self.bundle is None:
                return ClassifierModel(self.architecture, classes, standardise=self.standardise, width=self.width)
            return classifier_on(self.bundle, self.architecture, classes, self.weights)


def finetune(config: FinetuneConfig) -> dict[str, Any]:
    """Run or resume the experiment; returns the content of `out/results.json`.

    Also writes `out/settings.json`, `out/folds/ARM-K.json` and, with `final_model`, the bundle `out/model`, whose
    config.json lists the class names. HarnetError for invalid data or weights, and if `out` holds results of other
    settings.
    """
    start = _start(config)
    data = read_windows(config.data, start.architecture)
    folds = people_folds(data.people, config.folds, config.training.seed)
    settings = _settings(config, start, data, folds)
    claim(config.out, settings, "fine-tuning results")
    (config.out / "folds").mkdir(exist_ok=True)
    arms = _arms(config)
    steps = _steps(config, data, folds)
    with (
        _threads(config.training.threads),
        deterministic_convolutions(),
        bar(sum(steps.values()), "fine-tuning", "step") as shown,
    ):
        outcomes: dict[str, Any] = {}
        for arm, training in arms.items():
            done = []
            for number, held_out in enumerate(folds):
                path = config.out / "folds" / f"{arm}-{number}.json"
                if not path.exists():
                    seed = _seed(training.seed, number)
                    fold = _run_fold(start.model(arm, len(data.classes), seed), data, held_out, training, seed,
                                     shown.update)  # fmt: skip
                    write_atomically(path, json.dumps(fold, indent=1))
                else:
                    shown.update(steps[f"{arm}-{number}"])
                done.append(json.loads(path.read_text()))
            outcomes[arm] = _outcome(done)
        results = {"settings": settings, "arms": outcomes}
        if config.final_model and not (config.out / FINAL_MODEL).exists():
            _save_final(config, start, data, outcomes, shown.update)
    write_atomically(config.out / RESULTS, json.dumps(results, indent=1) + "\n")
    return results


def _start(config: FinetuneConfig) -> _Start:
    if config.weights is None:
        assert config.architecture is not None
        return _Start(find_architecture(config.architecture).name, config.standardise, PUBLISHED_WIDTH, None, "none")
    bundle = read_bundle(config.weights)
    found = bundle.config.architecture
    if config.architecture not in (None, found):
        raise HarnetError(f"{config.weights}: holds {found}, not {config.architecture}: omit the model")
    return _Start(found, bundle.config.standardise, bundle.config.width, bundle, config.weights)


def _arms(config: FinetuneConfig) -> dict[str, TrainingConfig]:
    if config.weights is None:
        return {SCRATCH: config.training}
    arms = {"frozen" if config.training.freeze_encoder else "fine-tuned": config.training}
    if config.compare_scratch:
        arms[SCRATCH] = replace(config.training, freeze_encoder=False)
    return arms


def _settings(
    config: FinetuneConfig, start: _Start, data: LabelledWindows, folds: tuple[tuple[str, ...], ...]
) -> dict[str, Any]:
    """Everything that the results depend on, JSON-serialisable."""
    return {
        "architecture": start.architecture,
        "standardise": start.standardise,
        "weights": start.bundle.digest if start.bundle else None,
        "data": data.digest,
        "classes": list(data.classes),
        "windows": len(data.labels),
        "arms": list(_arms(config)),
        "folds": [list(people) for people in folds],
        "training": asdict(config.training),
        "torch": str(torch.__version__),
    }


def _steps(config: FinetuneConfig, data: LabelledWindows, folds: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    """Optimiser steps of each fold and of the final model."""
    steps = {
        f"{arm}-{number}": training.steps(int((~np.isin(data.people, held_out)).sum()))
        for arm, training in _arms(config).items()
        for number, held_out in enumerate(folds)
    }
    if config.final_model and not (config.out / FINAL_MODEL).exists():
        steps[FINAL_MODEL] = config.training.steps(len(data.labels))
    return steps


def _run_fold(
    model: ClassifierModel,
    data: LabelledWindows,
    held_out: tuple[str, ...],
    training: TrainingConfig,
    seed: int,
    on_step: Callable[[], object],
) -> dict[str, Any]:
    tested = np.isin(data.people, held_out)
    steps = _fit(model, data, ~tested, training, seed, on_step)
    truth, predicted = data.labels[tested], predict(model, data.windows[tested], training.device)
    people = data.people[tested]
    scores = [score_person(name, truth[people == name], predicted[people == name]) for name in held_out]
    return {
        "people": [asdict(score) for score in scores],
        "confusion": confusion(truth, predicted, len(data.classes)),
        "steps": steps,
    }


def _fit(
    model: ClassifierModel,
    data: LabelledWindows,
    chosen: NDArray[np.bool_],
    training: TrainingConfig,
    seed: int,
    on_step: Callable[[], object],
) -> int:
    """Train on the selected windows (N,), minus those of the people held out for early stopping; returns the steps."""
    if not training.patience:
        return fit_classifier(model, data.windows[chosen], data.labels[chosen], training, seed, on_step)
    aside = chosen & np.isin(data.people, set_aside(data.people[chosen], training.validation_share, seed))
    learnt = chosen & ~aside
    validation = (data.windows[aside], data.labels[aside])
    return fit_classifier(model, data.windows[learnt], data.labels[learnt], training, seed, on_step, validation)


def _outcome(folds: list[dict[str, Any]]) -> dict[str, Any]:
    people = [person for fold in folds for person in fold["people"]]
    counts = np.sum([fold["confusion"] for fold in folds], axis=0).tolist()
    summary = asdict(summarise([PersonScore(**person) for person in people]))
    return {"summary": summary, "people": people, "confusion": counts}


def _save_final(
    config: FinetuneConfig,
    start: _Start,
    data: LabelledWindows,
    outcomes: dict[str, Any],
    on_step: Callable[[], object],
) -> None:
    """Train the first arm on everybody and save it as a bundle with a classifier."""
    arm, training = next(iter(_arms(config).items()))
    seed = _seed(training.seed, -1)
    model = start.model(arm, len(data.classes), seed)
    steps = _fit(model, data, np.ones(len(data.labels), bool), training, seed, on_step)
    before = start.bundle.config if start.bundle else None
    facts = {
        "arm": arm,
        "weights": start.bundle.digest if start.bundle else "none",
        "people": len(np.unique(data.people)),
        "windows": len(data.labels),
        "epochs": training.epochs,
        "steps": steps,
        "seed": training.seed,
        "held-out macro F1": outcomes[arm]["summary"]["macro_f1"],
        "held-out kappa": outcomes[arm]["summary"]["kappa"],
    }
    described = BundleConfig(
        architecture=start.architecture,
        window_seconds=find_architecture(start.architecture).seconds,
        normalisation="standardised window" if start.standardise else "none",
        width=start.width,
        preprocessing=before.preprocessing if before else {},
        manifest_digest=before.manifest_digest if before else "",
        training_steps=before.training_steps if before else 0,
        git_revision=before.git_revision if before else "",
        provenance={**(before.provenance if before else {}), "fine-tuning": facts},
        data_use_terms=before.data_use_terms if before else "",
        classes=data.classes,
    )
    save(config.out / FINAL_MODEL, model.state_dict(), described)


def _seed(seed: int, fold: int) -> int:
    """An independent seed for each fold; fold -1 is the final model, trained on everybody."""
    return int(np.random.SeedSequence([seed, fold + 1]).generate_state(1)[0])


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
