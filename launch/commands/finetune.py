"""`harnet finetune`: labelled windows and weights -> scores on held-out people, and a classifier."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from harnet.transfer.classifier_fit import TrainingConfig
from harnet.transfer.finetune import FINAL_MODEL, RESULTS, FinetuneConfig, finetune

NO_WEIGHTS = "none"


@dataclass(frozen=True)
class Command:
    """Train a classifier on your labelled windows and test it on held-out people.

    DATA is a folder with X.npy (N, 3, L) in g at 30 Hz, Y.npy (labels) and pid.npy (wearers). Each person is left out
    in turn. The same command resumes an interrupted run. Results and the final model go to --out.

    Example: harnet finetune adl/ --weights weights/ --out results/
    """

    data: tyro.conf.Positional[Path]
    """Folder with X.npy, Y.npy and pid.npy."""
    weights: str
    """Folder or URL of exported weights, or "none" to train from scratch (then give --model)."""
    out: Path
    """Folder for results.json and the final model."""
    model: str | None = None
    """harnet5, harnet10 or harnet30; only with --weights none."""
    standardise: bool = True
    """With --weights none: standardise each window inside the encoder."""
    folds: int | None = None
    """Number of folds; a person is never split over folds. By default one person is left out at a time."""
    compare_scratch: bool = False
    """Also train from scratch on the same folds."""
    final_model: bool = True
    """Finally train on everybody and save the model in OUT/model."""
    training: tyro.conf.OmitArgPrefixes[TrainingConfig] = field(default_factory=TrainingConfig)
    """Training recipe."""
    json: bool = False
    """Print the summary as JSON."""

    def run(self) -> int:
        """Run or resume the folds; returns the exit code."""
        results = finetune(
            FinetuneConfig(
                data=self.data,
                out=self.out,
                training=self.training,
                weights=None if self.weights == NO_WEIGHTS else self.weights,
                architecture=self.model,
                standardise=self.standardise,
                folds=self.folds,
                compare_scratch=self.compare_scratch,
                final_model=self.final_model,
            )
        )
        print(_summary(results, self.out, self.final_model) if self.json else _table(results, self.out))
        return 0


def _summary(results: dict[str, Any], out: Path, final_model: bool) -> str:
    arms = {name: arm["summary"] for name, arm in results["arms"].items()}
    model = str(out / FINAL_MODEL) if final_model else None
    return json.dumps({"results": str(out / RESULTS), "model": model, "arms": arms})


def _table(results: dict[str, Any], out: Path) -> str:
    """One row per person, numbered rather than named, because terminal output ends up in log files."""
    lines = []
    for name, arm in results["arms"].items():
        lines += [f"{name}, tested on held-out people", "person  windows  macro F1   kappa"]
        for number, person in enumerate(arm["people"], start=1):
            kappa = "      -" if person["kappa"] is None else f"{person['kappa']:7.3f}"
            lines.append(f"{number:6d}  {person['windows']:7d}  {person['macro_f1']:8.3f} {kappa}")
        mean = arm["summary"]
        lines.append(
            f"mean ± sd over {mean['people']} people: macro F1 {mean['macro_f1']:.3f} ± {mean['macro_f1_std']:.3f}, "
            f"kappa {mean['kappa']:.3f} ± {mean['kappa_std']:.3f}\n"
        )
    lines.append(f"people are in the order of {out / RESULTS}")
    return "\n".join(lines)
