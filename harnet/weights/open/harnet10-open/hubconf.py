"""torch.hub entry point of the weights in this folder; needs `pip install harnet`.

    torch.hub.load("THIS FOLDER", "harnet10", source="local", pretrained=True, class_num=5)
"""

import sys
from pathlib import Path

# A file named harnet.py on the path, such as in the current folder, would shadow the package.
sys.path[:] = [folder for folder in sys.path if not Path(folder, "harnet.py").is_file()]

from harnet.weights.hub import hub_model  # noqa: E402

dependencies = ["torch", "numpy", "safetensors", "fsspec", "harnet"]


def harnet10(pretrained=False, my_device="cpu", class_num=2, **kwargs):
    """harnet10 with a new classifier of `class_num` outputs; `pretrained` loads the encoder of this folder."""
    return hub_model("harnet10", pretrained, my_device, class_num, Path(__file__).parent, **kwargs)
