"""Checkpoints: whatever happens, there is a valid one to resume from.

A checkpoint is a folder `step-NNNNNNNN`. It is written under a temporary name, flushed, renamed, and only then gets
its completion marker, which holds the digest of every file. Older checkpoints are deleted after that. A checkpoint
without a matching marker is ignored.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from harnet.errors import HarnetError
from harnet.files import fsync_tree, publish, write_atomically
from harnet.run_folder import (
    AVERAGE,
    CHECKPOINTS,
    MARKER,
    METADATA,
    NETWORK,
    OPTIMIZER,
    RANDOM,
    checkpoint_folder,
    checkpoint_steps,
)

_NAMES = {NETWORK, AVERAGE, RANDOM, OPTIMIZER, METADATA}


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint on disk."""

    path: Path
    """Its folder."""
    step: int
    """Steps done."""
    metadata: Mapping[str, Any]
    """Configuration, manifest digest, world size and everything else that is stored beside the tensors."""

    def tensors(self, name: str) -> dict[str, Tensor] | None:
        """The tensors in one file, on the CPU; None if the run has no such file."""
        path = self.path / name
        return load_file(path) if path.exists() else None

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
    tensors: Mapping[str, Mapping[str, Tensor]],
    optimizer: Mapping[str, Any],
    metadata: Mapping[str, Any],
    keep: int,
    protected: Collection[int] = (),
) -> Path:
    """Write the checkpoint of a step, then delete all others but the newest `keep` valid ones and `protected` steps.

    `tensors` maps file names to state dicts, `NETWORK` among them. A kill at any moment leaves at least the
    checkpoints that were valid before; the next save removes what an interrupted one left behind.
    """
    final = checkpoint_folder(run, step)
    temporary = final.with_name(final.name + ".tmp")
    for leftover in (*(run / CHECKPOINTS).glob("*.tmp"), final):
        # A folder of this name has no matching marker: otherwise the run would have resumed from it.
        if leftover.exists():
            shutil.rmtree(leftover)
    temporary.mkdir(parents=True)
    names = _write(temporary, tensors, optimizer, dict(metadata) | {"step": step})
    marker = json.dumps({name: _digest(temporary / name) for name in names})
    fsync_tree(temporary)
    publish(temporary, final)
    write_atomically(final / MARKER, marker)
    kept = {one.step for one in _valid(run)[:keep]} | set(protected)
    for old in checkpoint_steps(run):
        if old < step and old not in kept:
            shutil.rmtree(checkpoint_folder(run, old))
    return final


def _write(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], optimizer: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[str]:
    # Both libraries raise their own exception for a full disk; writing bytes raises an OSError, as everywhere else.
    for name, state in tensors.items():
        on_cpu = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
        (folder / name).write_bytes(safetensors_bytes(on_cpu))
    buffer = io.BytesIO()
    torch.save(dict(optimizer), buffer)
    (folder / OPTIMIZER).write_bytes(buffer.getbuffer())
    (folder / METADATA).write_text(json.dumps(dict(metadata), indent=2, sort_keys=True))
    return [*tensors, OPTIMIZER, METADATA]


def at_step(run: Path, step: int) -> Checkpoint | None:
    """The checkpoint of a step that another rank has found to be valid; digests are not verified again."""
    folder = checkpoint_folder(run, step)
    if not (folder / MARKER).is_file():
        return None
    return Checkpoint(folder, step, json.loads((folder / METADATA).read_text()))


def newest(run: Path) -> Checkpoint | None:
    """The newest valid checkpoint of a run folder, if there is any."""
    valid = _valid(run)
    return valid[0] if valid else None


def find(run: Path) -> Checkpoint:
    """Like `newest`.

    Raises:
        HarnetError: there is no valid checkpoint.
    """
    found = newest(run)
    if found is None:
        raise HarnetError(f"{run}: no complete checkpoint in it; pass the run folder of `harnet pretrain`")
    return found


def find_all(run: Path) -> list[Checkpoint]:
    """Every valid checkpoint of a run folder, newest first."""
    return _valid(run)


def _valid(run: Path) -> list[Checkpoint]:
    """Valid checkpoints, newest first."""
    found = []
    for step in reversed(checkpoint_steps(run)):
        folder = checkpoint_folder(run, step)
        if _is_complete(folder):
            found.append(Checkpoint(folder, step, json.loads((folder / METADATA).read_text())))
    return found


def _is_complete(folder: Path) -> bool:
    marker = folder / MARKER
    if not marker.is_file():
        return False
    try:
        expected = json.loads(marker.read_text())
    except ValueError:
        return False
    if not isinstance(expected, dict) or not {NETWORK, OPTIMIZER, METADATA} <= expected.keys() <= _NAMES:
        return False
    return all((folder / name).is_file() and _digest(folder / name) == value for name, value in expected.items())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
