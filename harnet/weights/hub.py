"""torch.hub entry point, called by `hubconf.py` of this repository and of every bundle."""

from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.heads import ClassifierModel
from harnet.weights.load import create_model
from harnet.weights.packaged import packaged

_TEMPLATE = '''"""torch.hub entry point of the weights in this folder; needs `pip install harnet`.

    torch.hub.load("THIS FOLDER", "{architecture}", source="local", pretrained=True, class_num=5)
"""

import sys
from pathlib import Path

# A file named harnet.py on the path, such as in the current folder, would shadow the package.
sys.path[:] = [folder for folder in sys.path if not Path(folder, "harnet.py").is_file()]

from harnet.weights.hub import hub_model  # noqa: E402

dependencies = ["torch", "numpy", "safetensors", "fsspec", "harnet"]


def {architecture}(pretrained=False, my_device="cpu", class_num=2, **kwargs):
    """{architecture} with a new classifier of `class_num` outputs; `pretrained` loads the encoder of this folder."""
    return hub_model("{architecture}", pretrained, my_device, class_num, Path(__file__).parent, **kwargs)
'''


def bundle_hubconf(architecture: str) -> str:
    """Text of the `hubconf.py` that makes a bundle a torch.hub repository."""
    return _TEMPLATE.format(architecture=architecture)


def hub_model(
    name: str,
    pretrained: bool,
    my_device: str,
    class_num: int,
    default_weights: Path,
    weights: str | Path | None = None,
    **unknown: Any,
) -> ClassifierModel:
    """The model that torch.hub returns, on `my_device`.

    With `pretrained` its encoder is loaded from `weights` (anything that `load_encoder` takes), by default from the
    folder `default_weights` or, if there is none, from the open weights of that architecture in the package.
    HarnetError if there are no weights, if `weights` is given without `pretrained`, and for unknown options.
    """
    if unknown:
        raise HarnetError(f"{name}: no option {sorted(unknown)[0]!r}; "
                          "options: pretrained, my_device, class_num, weights")  # fmt: skip
    if not pretrained:
        if weights is not None:
            raise HarnetError(f"{name}: weights={str(weights)!r} without pretrained=True: add it or omit weights")
        return create_model(name, class_num, device=my_device)
    default = default_weights if (default_weights / "config.json").is_file() else packaged(f"{name}-open")
    if weights is None and default is None:
        raise HarnetError(f"{name}: pretrained=True needs weights, and none of {name} come with harnet: pass "
                          f"weights=FOLDER of exported weights, or put them at {default_weights}")  # fmt: skip
    return create_model(name, class_num, weights=weights or default, device=my_device)
