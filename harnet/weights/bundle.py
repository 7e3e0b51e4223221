"""A bundle: the published folder of weights, written atomically.

model.safetensors   every tensor, under the names of the state-dict contract
config.json         `BundleConfig`
README.md           model card
hubconf.py          makes the folder a torch.hub repository for users who have harnet installed
model.onnx          optional: see `graphs`
model.pt2           optional: see `graphs`
torch_hub/          optional: torch.hub folder for tools without harnet; see `hub_folder`
SHA256SUMS          checksums of the files above, for `sha256sum -c`
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, get_args

from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from harnet.errors import HarnetError
from harnet.files import fsync_tree, publish
from harnet.linear_probe import LinearProbe
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.bundle_files import CARD, CONFIG, HUBCONF, MODEL, ONNX, PROGRAM, SUMS, TORCH_HUB
from harnet.weights.card import model_card
from harnet.weights.contract import check_probe, check_state
from harnet.weights.graphs import onnx_bytes, program_bytes
from harnet.weights.half import halved, widened
from harnet.weights.hub import bundle_hubconf
from harnet.weights.hub_folder import hub_folder
from harnet.weights.load import Bundle, build_classifier, build_encoder

__all__ = ["FORMATS", "BundleConfig", "Format", "save"]

Format = Literal["onnx", "torch-export", "published"]
"""Optional formats beside safetensors: an ONNX file, a `torch.export` program, the published torch.hub folder."""

FORMATS: tuple[Format, ...] = get_args(Format)

_OURS = {MODEL, CONFIG, CARD, HUBCONF, SUMS, ONNX, PROGRAM, TORCH_HUB, "__pycache__"}
"""Files that may be in a bundle; Python creates `__pycache__` when torch.hub runs `hubconf.py`."""


def save(
    folder: str | Path, state_dict: Mapping[str, Tensor], config: BundleConfig, formats: Collection[Format] = ()
) -> Path:
    """Write a bundle to `folder`, replacing an existing bundle; returns the resolved path.

    `state_dict` is that of a complete model (`PretextModel`, `ClassifierModel`) and must satisfy the same contract as
    when it is loaded. HarnetError, with nothing written, if it does not, or if `folder` contains anything but a bundle.
    `formats` are written beside the safetensors; "onnx" needs the extra of that name.
    The same arguments give the same bytes. A process killed at any moment leaves the old bundle or the new one; if it
    is killed between the two renames, the old one is left as `.NAME.old` and the next save restores it first.
    """
    final = Path(folder).resolve()
    if config.encoder and formats:
        raise HarnetError(f"{final.name}: a linear classifier on the features of {config.encoder} has no other formats")
    _check(state_dict, config, f"weights for {final.name}")
    final.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (final.with_name(f".{final.name}.{word}") for word in ("tmp", "old"))
    if old.exists() and not final.exists():
        publish(old, final)
    _refuse_to_replace_anything_else(final)
    for leftover in (fresh, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    _write(fresh, state_dict, config, formats)
    if final.exists():
        os.rename(final, old)
    publish(fresh, final)
    if old.exists():
        shutil.rmtree(old)
    return final


def _check(state: Mapping[str, Tensor], config: BundleConfig, where: str) -> None:
    """The checks that will also be made on loading."""
    if config.stored == "float16":
        state = widened(halved(state))
    check = check_probe if config.encoder else check_state
    check(state, config.architecture, config.width, len(config.classes), where)


def _write(folder: Path, state_dict: Mapping[str, Tensor], config: BundleConfig, formats: Collection[Format]) -> None:
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}
    stored = halved(tensors) if config.stored == "float16" else tensors
    contents = {
        MODEL: safetensors_bytes(stored, metadata={"format": "pt"}),
        CONFIG: config.to_json().encode(),
        CARD: model_card(config, formats).encode(),
        **({} if config.encoder else {HUBCONF: bundle_hubconf(config.architecture).encode()}),
        **_other_formats(tensors, config, formats),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    folder.mkdir()
    for name, content in {**contents, SUMS: sums.encode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    fsync_tree(folder)


def _other_formats(tensors: dict[str, Tensor], config: BundleConfig, formats: Collection[Format]) -> dict[str, bytes]:
    """Path inside the bundle -> file content, for each of `formats`."""
    found: dict[str, bytes] = {}
    if "published" in formats:
        found |= {f"{TORCH_HUB}/{name}": content for name, content in hub_folder(tensors, config).items()}
    if "onnx" in formats or "torch-export" in formats:
        bundle = Bundle(tensors, config, "")
        model = build_classifier(bundle) if config.classes else build_encoder(bundle)
        assert not isinstance(model, LinearProbe), "asked for in `save`"
        if "onnx" in formats:
            found[ONNX] = onnx_bytes(model)
        if "torch-export" in formats:
            found[PROGRAM] = program_bytes(model)
    return found


def _refuse_to_replace_anything_else(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise HarnetError(f"{folder}: is a file, not a folder of weights: choose another folder")
    found = {path.name for path in folder.iterdir()}
    if found and (CONFIG not in found or found - _OURS):
        other = sorted(found - _OURS)
        raise HarnetError(f"{folder}: contains files other than a bundle of weights"
                          f"{f' (such as {other[0]!r})' if other else ''}: choose another folder")  # fmt: skip
