"""Provenance of a run's weights; no participant is named."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import torch

import harnet
from data_shards.shards.manifest import Manifest
from pretrain.config import PretrainConfig
from pretrain.parallel.distributed import Process


def shared_provenance(config: PretrainConfig, manifest: Manifest, process: Process) -> dict[str, Any]:
    """`provenance`, computed by rank 0 and broadcast, since it scans all rows and runs git."""
    own = json.dumps(provenance(config, manifest)) if process.first else ""
    found: dict[str, Any] = json.loads(process.broadcast_text(own))
    return found


def provenance(config: PretrainConfig, manifest: Manifest) -> dict[str, Any]:
    """Provenance that is stored in checkpoints and later in the published weights."""
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


def git_revision(source: Path = Path(__file__)) -> str:
    """Git revision of the running source, with "-dirty" if it was modified; "unknown" outside a checkout.

    A package installed inside another repository, such as in its .venv, does not count as part of it.
    """
    source = source.resolve()
    # Inside a git hook, these variables point to another repository than the one that the file is in.
    here = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=here).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", source.name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
