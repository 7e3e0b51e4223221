"""What the page shows, read from the folders that other commands wrote; nothing here imports those commands."""

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
    """Features of windows on their first two principal components."""

    points: NDArray[np.float64]
    """(n, 2)."""
    activity: list[str]
    """Label of each point, "data set: label" if there are several data sets."""
    device: list[str]
    """Device of each point, or its data set if that is not known."""
    explained: tuple[float, float]
    """Share of the variance on each component."""


def read_results(folder: Path) -> dict[str, Any]:
    """`results.json`; HarnetError if there is none or it has no table."""
    found = _json(folder / RESULTS, "run harnet evaluate first, or name the folder that it wrote")
    if not found.get("tables"):
        raise HarnetError(f"{folder / RESULTS}: holds no table: run harnet evaluate to its end")
    return found


def read_log(run: Path) -> list[dict[str, Any]]:
    """The whole lines of a pretraining run's log.jsonl; HarnetError if there is none."""
    if not (run / run_folder.LOG).is_file():
        raise HarnetError(f"{run / run_folder.LOG}: missing: name the folder that harnet pretrain wrote")
    return run_folder.read_log(run)


def read_flow(path: Path) -> dict[str, Any]:
    """`flow.json` of harnet quality, or the folder that holds it."""
    return _json(path / "flow.json" if path.is_dir() else path, "harnet quality writes it")


def read_plane(folder: Path, labelled: Path, results: dict[str, Any]) -> Plane | None:
    """Principal components of the encoder's features of all data sets together; None if they are not there."""
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
                f"{labels}: {len(names)} labels, {features} has {len(found)} windows: not the same data set"
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
    """First two principal components of standardised features; the sign is fixed so that it repeats."""
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
