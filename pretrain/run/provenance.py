"""Where the weights of a run come from; no participant is named."""

import subprocess
from pathlib import Path
from typing import Any

import torch

import harnet
from data_shards.shards.manifest import Manifest
from pretrain.config import PretrainConfig


def provenance(config: PretrainConfig, manifest: Manifest) -> dict[str, Any]:
    """What a checkpoint, and later the published weights, say of their origin."""
    rows = manifest.rows("train")
    return {
        "objective": config.objective,
        "people": manifest.people(rows),
        "person_days": manifest.person_days(rows),
        "worn_hours": round(float(manifest.columns["wear_seconds"][rows].sum()) / 3600, 1),
        "preprocessing": dict(manifest.provenance["preprocessing"]),
        "harnet": harnet.__version__,
        "torch": str(torch.__version__),
        "git_revision": git_revision(),
    }


def git_revision() -> str:
    """Revision of the source that runs, with "-dirty" if it was changed; "unknown" outside a checkout."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
