"""A torch.hub folder in the published layout, for tools that expect one; it needs torch and numpy but not harnet.

    hubconf.py                      harnet5/10/30(pretrained, my_device, class_num)
    model_check_point/mtl_best.mdl  the weights, every name prefixed with `module.`
    harnet_model_<digest>/          the network's source files, copied from this package

stepcount, actinet and asleep load the first folder in `<package>/torch_hub_cache/` whose name contains
`ssl-wearables` and `v1.0.0`; copied there under such a name, this folder is what they load. They pin old versions of
Python and torch with which harnet cannot be installed, so the folder includes the network's source.
"""

import hashlib
import importlib.resources
from collections.abc import Mapping

from torch import Tensor

from harnet.encoder import PUBLISHED_WIDTH
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.published import FILES, published_bytes

CHECKPOINTS = "model_check_point"

_SOURCES = ("errors.py", "encoder.py", "heads.py")
"""Source files that define the network; they must run on Python 3.9 and torch 1.13."""

_TEMPLATE = '''"""torch.hub entry points of the weights in this folder. Needs torch (1.13 or later) and numpy.

    torch.hub.load("THIS FOLDER", "{architecture}", source="local", pretrained=True, class_num=5)

Input: (N, 3, {length}) in g, gravity included, at 30 Hz. Normalisation inside the model: {normalisation}.
"""

import hashlib
import io
import warnings
from pathlib import Path

import torch

from {package}.errors import HarnetError
from {package}.heads import ClassifierModel

dependencies = ["torch", "numpy"]

_ARCHITECTURE = "{architecture}"
_STANDARDISE = {standardise}
_OPTIONS = {options}
_FILE = Path(__file__).parent / "{folder}" / "{file}"
_SHA256 = "{digest}"
_PREFIX = "module.feature_extractor."


def harnet5(pretrained=False, my_device="cpu", class_num=2, **kwargs):
    """(N, 3, 150) -> (N, class_num) logits of a new classifier; `pretrained` loads the encoder of this folder."""
    return _model("harnet5", pretrained, my_device, class_num, kwargs)


def harnet10(pretrained=False, my_device="cpu", class_num=2, **kwargs):
    """(N, 3, 300) -> (N, class_num) logits of a new classifier; `pretrained` loads the encoder of this folder."""
    return _model("harnet10", pretrained, my_device, class_num, kwargs)


def harnet30(pretrained=False, my_device="cpu", class_num=2, **kwargs):
    """(N, 3, 900) -> (N, class_num) logits of a new classifier; `pretrained` loads the encoder of this folder."""
    return _model("harnet30", pretrained, my_device, class_num, kwargs)


def _model(name, pretrained, my_device, class_num, others):
    if others:
        warnings.warn("%s: ignored options: %s" % (name, ", ".join(sorted(others))), stacklevel=3)
    if name != _ARCHITECTURE:
        if pretrained:
            raise HarnetError("%s: this folder holds only weights of %s: load that model" % (name, _ARCHITECTURE))
        return ClassifierModel(name, class_num).to(my_device)
    model = ClassifierModel(name, class_num, standardise=_STANDARDISE, **_OPTIONS)
    if pretrained:
        model.feature_extractor.load_state_dict(_encoder_state(), strict=True)
    return model.to(my_device)


def _encoder_state():
    try:
        content = _FILE.read_bytes()
    except OSError as error:
        raise HarnetError("%s: cannot be read (%s): copy the whole folder" % (_FILE, error.strerror))
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256:
        raise HarnetError("%s: SHA-256 %s..., expected %s...: damaged or modified, copy it again"
                          % (_FILE, found[:12], _SHA256[:12]))
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return {{name[len(_PREFIX):]: tensor for name, tensor in state.items() if name.startswith(_PREFIX)}}
'''


def hub_folder(state: Mapping[str, Tensor], config: BundleConfig) -> dict[str, bytes]:
    """Path inside the folder -> file content; the same state and config give the same bytes.

    `state` uses the names of the contract; all of it is written.
    """
    file, weights = FILES[config.architecture], published_bytes(state)
    package, sources = _network_package()
    hubconf = _TEMPLATE.format(
        architecture=config.architecture,
        length=config.window_seconds * config.sampling_rate,
        normalisation=config.normalisation,
        package=package,
        standardise=config.standardise,
        options={} if config.width == PUBLISHED_WIDTH else {"width": config.width},
        folder=CHECKPOINTS,
        file=file,
        digest=hashlib.sha256(weights).hexdigest(),
    )
    return {"hubconf.py": hubconf.encode(), f"{CHECKPOINTS}/{file}": weights, **sources}


def _network_package() -> tuple[str, dict[str, bytes]]:
    """Name and files of a package that contains the network and does not import `harnet`.

    The name includes a digest of the content, so two such folders loaded in one process share it only if it is equal.
    """
    here = importlib.resources.files("harnet")
    texts = {name: (here / name).read_text("utf-8") for name in _SOURCES}
    package = f"harnet_model_{hashlib.sha256(''.join(texts.values()).encode()).hexdigest()[:8]}"
    sources = {
        f"{package}/{name}": text.replace("from harnet.", f"from {package}.").encode() for name, text in texts.items()
    }
    origin = '"""The network of harnet (Apache-2.0), copied so that this folder needs no other package."""\n'
    return package, {f"{package}/__init__.py": origin.encode(), **sources}
