"""Reading the contents of the report from folders that other commands wrote, without importing those commands."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet import run_folder
from harnet.errors import HarnetError
from harnet.evaluation.drawing import evenly
from harnet.evaluation.result_tables import RESULTS
from harnet.evaluation.suite_context import FEATURES


@dataclass(frozen=True)
class Plane:
    """Windows projected on the first two principal components of their features."""

    points: NDArray[np.float64]
    """(n, 2)."""
    activity: list[str]
    """Label of each point, or "data set: label" if there are several data sets."""
    device: list[str]
    """Device of each point, or its data set if the device is unknown."""
    explained: tuple[float, float]
    """Fraction of the variance explained by each component."""


def read_results(folder: Path) -> dict[str, Any]:
    """Content of `results.json`; HarnetError if it is missing or has no table."""
    found = _json(folder / RESULTS, "run harnet evaluate first, or pass the folder that it wrote")
    if not found.get("tables"):
        raise HarnetError(f"{folder / RESULTS}: contains no table: run harnet evaluate to completion")
    return found


def read_run_log(run: Path) -> list[dict[str, Any]]:
    """Complete lines of a pretraining run's log.jsonl; HarnetError if it is missing."""
    if not (run / run_folder.LOG).is_file():
        raise HarnetError(f"{run / run_folder.LOG}: missing: pass the folder that harnet pretrain wrote")
    return run_folder.read_log(run)


def read_flow(path: Path) -> dict[str, Any]:
    """Content of `flow.json` of harnet quality, given its path or its folder; HarnetError if it is missing."""
    return _json(path / "flow.json" if path.is_dir() else path, "run harnet quality to write it")


def read_plane(folder: Path, labelled: Path, results: dict[str, Any]) -> Plane | None:
    """Principal components of the encoder's features, over all data sets; None if features or labels are missing."""
    parts, activity, device = [], [], []
    facts = results["settings"]["data"]
    several = len(facts) > 1
    for name in facts:
        features, labels = folder / FEATURES / f"{name}-encoder.npy", labelled / name / "Y.npy"
        if not (features.is_file() and labels.is_file()):
            continue
        found = np.load(features, mmap_mode="r", allow_pickle=False)
        names = np.load(labels, allow_pickle=False).astype(str)
        if len(names) != len(found):
            raise HarnetError(
                f"{labels}: {len(names)} labels, but {features} has {len(found)} windows: not the same data set"
            )
        taken = evenly(len(found), len(facts))
        parts.append(np.asarray(found[taken], dtype=np.float64))
        activity += [f"{name}: {label}" if several else str(label) for label in names[taken]]
        device += [facts[name]["described"].get("device", name)] * len(taken)
    if not parts:
        return None
    points, explained = _principal(np.concatenate(parts))
    return Plane(points, activity, device, explained)


def _principal(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """First two principal components (n, 2) of standardised features (n, F), with a fixed sign, and their variance."""
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0)
    left, singular, right = np.linalg.svd(scaled, full_matrices=False)
    sign = np.sign(right[:2][np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    share = singular**2 / max(float((singular**2).sum()), 1e-12)
    return left[:, :2] * singular[:2] * sign, (float(share[0]), float(share[1]))


def _json(path: Path, advice: str) -> dict[str, Any]:
    if not path.is_file():
        raise HarnetError(f"{path}: missing: {advice}")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise HarnetError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise HarnetError(f"{path}: a {type(found).__name__}, expected an object")
    return found
