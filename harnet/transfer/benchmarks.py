"""Scores of `harnet finetune`, for the model card of the weights that were fine-tuned."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harnet.errors import HarnetError
from harnet.weights.bundle_config import BundleConfig


def with_benchmarks(config: BundleConfig, folders: Sequence[Path]) -> BundleConfig:
    """The configuration with the scores in `folders`, outputs of `harnet finetune`; HarnetError if one holds none."""
    return replace(config, provenance=config.provenance | {"benchmarks": benchmark_scores(folders)})


def benchmark_scores(folders: Sequence[Path]) -> dict[str, str]:
    """One entry per arm of each `harnet finetune` experiment; HarnetError if a folder contains no results."""
    scores = {}
    for folder in folders:
        try:
            arms = json.loads((folder / "results.json").read_text())["arms"]
            for arm, found in arms.items():
                mean = found["summary"]
                scores[f"{folder.name}, {arm}"] = (
                    f"macro F1 {mean['macro_f1']:.3f} ± {mean['macro_f1_std']:.3f}, kappa {mean['kappa']:.3f} over "
                    f"{mean['people']} held-out people"
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HarnetError(f"{folder}: contains no results.json of `harnet finetune` ({error})") from error
    return scores
