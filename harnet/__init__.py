"""Wrist accelerometer encoders: build them, load published weights, fine-tune them.

    import harnet
    encoder = harnet.load_encoder("weights/")
    model = harnet.create_model("harnet10", num_classes=5, weights="weights/")

Importing this package does not import torch: each name is resolved on first use, which keeps the command line fast
and `harnet.errors` cheap to import.
"""

import importlib
from typing import TYPE_CHECKING, Any

from harnet.errors import HarnetError

if TYPE_CHECKING:
    from harnet.encoder import ARCHITECTURES, Encoder
    from harnet.heads import ClassifierModel, PretextModel
    from harnet.weights.fingerprint import check_windows
    from harnet.weights.load import create_model, list_models, load_encoder

__all__ = [
    "ARCHITECTURES",
    "ClassifierModel",
    "Encoder",
    "HarnetError",
    "PretextModel",
    "check_windows",
    "create_model",
    "list_models",
    "load_encoder",
]

_HOMES = {
    "ARCHITECTURES": "harnet.encoder",
    "ClassifierModel": "harnet.heads",
    "Encoder": "harnet.encoder",
    "PretextModel": "harnet.heads",
    "check_windows": "harnet.weights.fingerprint",
    "create_model": "harnet.weights.load",
    "list_models": "harnet.weights.load",
    "load_encoder": "harnet.weights.load",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harnet' has no attribute {name!r}")


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("harnet")
    except importlib.metadata.PackageNotFoundError:
        # torch.hub runs a checkout that was never installed.
        return "0+checkout"
