"""torch.hub entry points: `torch.hub.load("THIS FOLDER", "harnet10", source="local", class_num=5)`."""

import sys
from pathlib import Path
from typing import Any

# A file harnet.py, say in the folder where Python was started, is not the package that is meant.
sys.path[:] = [folder for folder in sys.path if not Path(folder, "harnet.py").is_file()]

from harnet.heads import ClassifierModel  # noqa: E402
from harnet.weights.hub import hub_model  # noqa: E402

dependencies = ["torch", "numpy", "safetensors", "fsspec"]

_WEIGHTS = Path(__file__).parent / "weights"


def harnet5(pretrained: bool = False, my_device: str = "cpu", class_num: int = 2, **kwargs: Any) -> ClassifierModel:
    """Five-second windows, (N, 3, 150) in g -> logits (N, class_num); `weights=FOLDER` with `pretrained=True`."""
    return hub_model("harnet5", pretrained, my_device, class_num, _WEIGHTS, **kwargs)


def harnet10(pretrained: bool = False, my_device: str = "cpu", class_num: int = 2, **kwargs: Any) -> ClassifierModel:
    """Ten-second windows, (N, 3, 300) in g -> logits (N, class_num); `pretrained=True` for `harnet10-open`."""
    return hub_model("harnet10", pretrained, my_device, class_num, _WEIGHTS, **kwargs)


def harnet30(pretrained: bool = False, my_device: str = "cpu", class_num: int = 2, **kwargs: Any) -> ClassifierModel:
    """Thirty-second windows, (N, 3, 900) in g -> logits (N, class_num); `weights=FOLDER` with `pretrained=True`."""
    return hub_model("harnet30", pretrained, my_device, class_num, _WEIGHTS, **kwargs)
