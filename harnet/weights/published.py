"""Reading and writing checkpoints in the published format (.mdl), with every tensor accounted for.

A `.mdl` file is a state dict saved by torch. Names may have the prefix of a training wrapper (`module.`), and a model
that uses the whole network as its feature extractor nests the prefix (`feature_extractor.feature_extractor.*`).
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harnet.encoder import ARCHITECTURES, check_width
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.contract import ENCODER_PREFIX, check_state, encoder_layout

SUFFIXES = (".mdl", ".pt", ".pth")
"""File suffixes of checkpoints saved by torch."""

FILES = {"harnet5": "mtl_5_best.mdl", "harnet10": "mtl_best.mdl", "harnet30": "mtl_30_best.mdl"}
"""Architecture -> file name in `model_check_point/`."""

PREFIX = "module."
"""Prefix of every tensor name in published files."""

_WRAPPERS = (PREFIX, "_orig_mod.")
"""Prefixes added by data-parallel training and by torch.compile, in any order and number."""


def is_published(source: str | Path) -> bool:
    """Whether `source` is the path of a torch checkpoint, judged by its suffix."""
    return "://" not in str(source) and Path(source).suffix in SUFFIXES


def read_published(path: str | Path) -> tuple[dict[str, Tensor], BundleConfig, str]:
    """Read a checkpoint; returns its tensors under the names of the contract, a config and the SHA-256 of the file.

    The 131 tensors of the encoder and all complete pretext heads are kept; a classifier or anything else on top of
    the encoder is dropped. Only tensors are unpickled. HarnetError if the file is missing, damaged, not a state dict,
    or does not contain exactly one of this project's encoders.
    """
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror}): give the path of a checkpoint") from error
    state = without_wrappers(_load(content, path))
    width = _width(state, path)
    architecture = _architecture(state, width)
    kept = {name: tensor for name, tensor in state.items() if name.startswith(ENCODER_PREFIX)}
    for head in PRETEXT_HEADS.values():
        names = [f"{head}.linear1.{kind}" for kind in ("weight", "bias")]
        if all(name in state for name in names):
            kept |= {name: state[name] for name in names}
    check_state(kept, architecture, width, 0, str(path))
    digest = hashlib.sha256(content).hexdigest()
    config = BundleConfig(
        architecture,
        ARCHITECTURES[architecture].seconds,
        "none",
        width=width,
        provenance={"converted from": path.name, "SHA-256 of that file": digest},
    )
    return kept, config, digest


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with wrapper prefixes removed and nested `feature_extractor.` prefixes reduced to one."""
    found = dict(state)
    while wrapper := next((each for each in _WRAPPERS if found and all(name.startswith(each) for name in found)), None):
        found = {name.removeprefix(wrapper): tensor for name, tensor in found.items()}
    nested = ENCODER_PREFIX * 2
    if any(name.startswith(nested) for name in found):
        # Next to a nested network, names with a single prefix belong to the outer model.
        found = {name.removeprefix(ENCODER_PREFIX): t for name, t in found.items() if name.startswith(ENCODER_PREFIX)}
    return found


def published_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Content of a checkpoint that the published tools can read: the same tensors, names prefixed with `module.`."""
    buffer = io.BytesIO()
    torch.save(
        {PREFIX + name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(state.items())}, buffer
    )
    return buffer.getvalue()


def _load(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise HarnetError(f"{path}: contains Python objects, which are not loaded for security, or is damaged: save "
                          "only the state dict, torch.save(model.state_dict(), path)") from error  # fmt: skip
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HarnetError(f"{path}: not a complete torch.save file ({reason}): fetch it again") from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise HarnetError(f"{path}: a {type(found).__name__} that is not a state dict: expected names and tensors, "
                          "saved by torch.save(model.state_dict(), path)")  # fmt: skip
    return found


def _width(state: Mapping[str, Tensor], path: Path) -> int:
    """Channels of the first stage."""
    widths = {tuple(tensor.shape) for name, tensor in state.items() if name.startswith(f"{ENCODER_PREFIX}layer1.")
              and name.endswith(".bias")}  # fmt: skip
    if not widths:
        example = f", such as {min(state)[:80]!r}" if state else ""
        raise HarnetError(
            f"{path}: expected 131 tensors of an encoder under {ENCODER_PREFIX!r}, found none of its first stage among "
            f"{len(state)}{example}: not a checkpoint of this kind of model"
        )
    width = min(widths)[0] if min(widths) else 0
    check_width(width, f"{path}: width")
    return width


def _architecture(state: Mapping[str, Tensor], width: int) -> str:
    """The architecture whose tensor shapes best match `state`; `check_state` then verifies that all of them do."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    matching = {
        name: sum(shapes.get(key) == shape for key, (shape, _) in encoder_layout(name, width).items())
        for name in ARCHITECTURES
    }
    return max(matching, key=lambda name: matching[name])
