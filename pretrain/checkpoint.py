"""Saving a run so that whatever happens there is a valid checkpoint to go on from.

A checkpoint is a folder `step-NNNNNNNN`. It is written under a temporary name, flushed, renamed, and only then gets
its completion marker, which holds the digest of every file. Older ones are deleted after that. Without a marker that
fits, it does not count.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from harnet.errors import HarnetError
from harnet.files import fsync_tree, publish, write_atomically

FOLDER = "checkpoints"
MARKER = "COMPLETE"
NETWORK, OPTIMIZER, ABOUT = "network.safetensors", "optimizer.pt", "about.json"


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint on disk."""

    path: Path
    """Its folder."""
    step: int
    """Steps done."""
    about: Mapping[str, Any]
    """Configuration, manifest digest, world size and what else the run wrote beside its tensors."""

    def network(self) -> dict[str, Tensor]:
        """State dict of the network, on the CPU."""
        return load_file(self.path / NETWORK)

    def optimizer(self) -> dict[str, Any]:
        """State dict of the optimiser, on the CPU."""
        state: dict[str, Any] = torch.load(self.path / OPTIMIZER, map_location="cpu", weights_only=True)
        return state


def save(
    run: Path,
    step: int,
    network: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    about: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of a step, then delete all but the newest `keep` valid ones."""
    final = run / FOLDER / f"step-{step:08d}"
    temporary = final.with_name(final.name + ".tmp")
    for leftover in (temporary, final):
        # A folder of this name that is in the way has no marker that fits: the run would have gone on from it.
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    # Both libraries report a full disk as an error of their own kind; through memory it is an OSError, as anywhere.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.items()}
    (temporary / NETWORK).write_bytes(safetensors_bytes(tensors))
    buffer = io.BytesIO()
    torch.save(dict(optimizer), buffer)
    (temporary / OPTIMIZER).write_bytes(buffer.getbuffer())
    (temporary / ABOUT).write_text(json.dumps(dict(about) | {"step": step}, indent=2, sort_keys=True))
    marker = json.dumps({name: _digest(temporary / name) for name in (NETWORK, OPTIMIZER, ABOUT)})
    fsync_tree(temporary)
    publish(temporary, final)
    write_atomically(final / MARKER, marker)
    kept = {one.step for one in _valid(run)[:keep]}
    for old in _folders(run):
        if _step(old) < step and _step(old) not in kept:
            shutil.rmtree(old)
    return final


def newest(run: Path) -> Checkpoint | None:
    """The valid checkpoint with the most steps of a run folder, if there is any."""
    valid = _valid(run)
    return valid[0] if valid else None


def find(run: Path) -> Checkpoint:
    """Like `newest`.

    Raises:
        HarnetError: there is no valid checkpoint.
    """
    checkpoint = newest(run)
    if checkpoint is None:
        raise HarnetError(f"{run}: no complete checkpoint in it; give the run folder of `harnet pretrain`")
    return checkpoint


def _folders(run: Path) -> list[Path]:
    return [path for path in (run / FOLDER).glob("step-????????") if path.name[5:].isdigit()]


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _valid(run: Path) -> list[Checkpoint]:
    """Valid checkpoints, newest first."""
    found = []
    for folder in sorted(_folders(run), reverse=True):
        if _is_complete(folder):
            found.append(Checkpoint(folder, _step(folder), json.loads((folder / ABOUT).read_text())))
    return found


def _is_complete(folder: Path) -> bool:
    marker = folder / MARKER
    if not marker.is_file():
        return False
    try:
        expected = json.loads(marker.read_text())
    except ValueError:
        return False
    if not isinstance(expected, dict) or expected.keys() != {NETWORK, OPTIMIZER, ABOUT}:
        return False
    return all((folder / name).is_file() and _digest(folder / name) == value for name, value in expected.items())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
