"""Where the weights of a run come from; no participant is named."""

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
    """`provenance`, found by the first process and told to all: it walks all rows, and asks git."""
    own = json.dumps(provenance(config, manifest)) if process.first else ""
    found: dict[str, Any] = json.loads(process.broadcast_text(own))
    return found


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


def git_revision(source: Path = Path(__file__)) -> str:
    """Revision of the source that runs, with "-dirty" if it was changed; "unknown" outside a checkout.

    A package that is installed inside somebody's repository, such as in its .venv, is none of its files.
    """
    source = source.resolve()
    # What git tells its hooks would name another repository than the one that the file is in.
    here = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=here).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", source.name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
