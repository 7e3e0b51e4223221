"""torch.hub entry point of the weights in this folder; needs `pip install harnet`.

    torch.hub.load("THIS FOLDER", "harnet10", source="local", pretrained=True, class_num=5)
"""

import sys
from pathlib import Path

# A file harnet.py, say in the folder where Python was started, is not the package that is meant.
sys.path[:] = [folder for folder in sys.path if not Path(folder, "harnet.py").is_file()]

from harnet.weights.hub import hub_model  # noqa: E402

dependencies = ["torch", "numpy", "safetensors", "fsspec", "harnet"]


def harnet10(pretrained=False, my_device="cpu", class_num=2, **kwargs):
    """harnet10 with a fresh classifier of `class_num` outputs; with `pretrained` the encoder of this folder."""
    return hub_model("harnet10", pretrained, my_device, class_num, Path(__file__).parent, **kwargs)
