"""A bundle: the folder of weights that is published, written whole or not at all.

model.safetensors   every tensor, under the names of the state-dict contract
config.json         `BundleConfig`
README.md           model card
hubconf.py          makes the folder a torch.hub folder
SHA256SUMS          of the files above, as `sha256sum -c` reads it
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from harnet.errors import HarnetError
from harnet.files import fsync_tree, publish
from harnet.weights.card import model_card
from harnet.weights.config import BundleConfig
from harnet.weights.contract import check_state
from harnet.weights.hub import bundle_hubconf
from harnet.weights.names import CARD, CONFIG, HUBCONF, MODEL, SUMS

__all__ = ["BundleConfig", "save"]

_OURS = {MODEL, CONFIG, CARD, HUBCONF, SUMS, "__pycache__"}
"""What may lie in a bundle; Python leaves `__pycache__` there when torch.hub runs `hubconf.py`."""


def save(folder: str | Path, state_dict: Mapping[str, Tensor], config: BundleConfig) -> Path:
    """Write the bundle `folder`, replacing a bundle that is there; returns its resolved path.

    `state_dict` is that of a whole model (`PretextModel`, `ClassifierModel`) and is held to the same contract as
    when it is loaded: HarnetError, and nothing written, if it is broken or `folder` holds anything but a bundle.
    The same arguments give the same bytes. A process killed at any moment leaves the old bundle or the new one; killed
    between the two renames it leaves the old one under `.NAME.old`, and the next save puts that back first.
    """
    final = Path(folder).resolve()
    check_state(state_dict, config.architecture, config.width, len(config.classes), f"weights for {final.name}")
    final.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (final.with_name(f".{final.name}.{word}") for word in ("tmp", "old"))
    if old.exists() and not final.exists():
        publish(old, final)
    _refuse_to_replace_anything_else(final)
    for leftover in (fresh, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    _write(fresh, state_dict, config)
    if final.exists():
        os.rename(final, old)
    publish(fresh, final)
    if old.exists():
        shutil.rmtree(old)
    return final


def _write(folder: Path, state_dict: Mapping[str, Tensor], config: BundleConfig) -> None:
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}
    contents = {
        MODEL: safetensors_bytes(tensors, metadata={"format": "pt"}),
        CONFIG: config.to_json().encode(),
        CARD: model_card(config).encode(),
        HUBCONF: bundle_hubconf(config.architecture).encode(),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    folder.mkdir()
    for name, content in {**contents, SUMS: sums.encode()}.items():
        (folder / name).write_bytes(content)
    fsync_tree(folder)


def _refuse_to_replace_anything_else(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise HarnetError(f"{folder}: is a file, not a folder of weights: choose another folder")
    found = {path.name for path in folder.iterdir()}
    if found and (CONFIG not in found or found - _OURS):
        other = sorted(found - _OURS)
        raise HarnetError(f"{folder}: holds something else than a bundle of weights"
                          f"{f' (such as {other[0]!r})' if other else ''}: choose another folder")  # fmt: skip
