"""Weights in: one line for downstream teams, and one error line for anything that is not exactly right."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from torch import Tensor

from harnet.encoder import ARCHITECTURES, PUBLISHED_WIDTH, Encoder
from harnet.errors import HarnetError
from harnet.heads import ClassifierModel
from harnet.weights.bundle_config import BundleConfig, parse_config
from harnet.weights.bundle_files import CONFIG, MODEL
from harnet.weights.bundle_source import open_source, read_checked
from harnet.weights.contract import CLASSIFIER_PREFIX, check_state, encoder_state
from harnet.weights.published import is_published, read_published


@dataclass(frozen=True)
class Bundle:
    """The checked contents of a bundle."""

    state: dict[str, Tensor]
    """Every tensor of the file, on the CPU, as `check_state` allows."""
    config: BundleConfig
    """`config.json`."""
    digest: str
    """SHA-256 of model.safetensors, as hexadecimal digits: which weights these are."""


def read_bundle(source: str | Path, download: bool = False) -> Bundle:
    """Read and check a bundle (a local folder, an fsspec URL or a Hub id of one) or a published checkpoint (.mdl).

    HarnetError if a file is missing, damaged or not listed in SHA256SUMS, and if the tensors are not exactly those of
    the architecture in config.json. Offline unless `source` is a URL, or with `download` a Hub id that is not in the
    local cache. Nothing is unpickled but the tensors of a checkpoint (`weights_only`).
    """
    if is_published(source):
        return Bundle(*read_published(source))
    files = open_source(source, download)
    config = parse_config(read_checked(files, CONFIG), files.where(CONFIG))
    content = read_checked(files, MODEL)
    where = files.where(MODEL)
    try:
        state = safetensors_load(content)
    except SafetensorError as error:
        raise HarnetError(f"{where}: not a whole safetensors file ({error}): fetch it again") from error
    check_state(state, config.architecture, config.width, len(config.classes), where)
    return Bundle(state, config, hashlib.sha256(content).hexdigest())


def load_encoder(
    source: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    download: bool = False,
) -> Encoder:
    """The encoder of a bundle, in evaluation mode, on `device`, its weights float32 unless `dtype` says otherwise.

    `source` is a local folder, an fsspec URL, a Hub id (from the local cache, fetched only with `download`) or a
    published checkpoint. Raises HarnetError as `read_bundle` does.
    """
    bundle = read_bundle(source, download)
    return build_encoder(bundle).to(device=device, dtype=dtype).eval()


def build_encoder(bundle: Bundle) -> Encoder:
    """The encoder that a bundle describes, with its weights, on the CPU."""
    # Built without storage: drawing ten million random numbers only to overwrite them would be a tenth of a second
    # and would move the caller's random generator.
    with torch.device("meta"):
        config = bundle.config
        encoder = Encoder(config.architecture, standardise=config.standardise, width=config.width)
    encoder.load_state_dict(encoder_state(bundle.state), strict=True, assign=True)
    return encoder.requires_grad_()


def create_model(
    name: str,
    num_classes: int,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    width: int | None = None,
    dtype: torch.dtype | None = None,
    download: bool = False,
) -> ClassifierModel:
    """Encoder `name` with a fresh classifier of `num_classes` outputs, in training mode, on `device`.

    With `weights` (whatever `load_encoder` takes) the encoder is the one stored there, its width and normalisation
    included; without, it is freshly drawn, of the published width unless `width` says otherwise, and takes windows as
    they are. HarnetError if `weights` holds another architecture or another width than was asked for, and as
    `read_bundle` raises it. They are float32 or `dtype`.
    Fresh parameters come from torch's global generator: seed it with `torch.manual_seed`.
    """
    if num_classes < 1:
        raise HarnetError(f"num_classes {num_classes!r}: must be at least 1")
    if weights is None:
        return ClassifierModel(name, num_classes, width=width or PUBLISHED_WIDTH).to(device=device, dtype=dtype)
    bundle = read_bundle(weights, download)
    if width not in (None, bundle.config.width):
        raise HarnetError(f"{weights}: holds width {bundle.config.width}, expected {width}: "
                          "leave width out or pass other weights")  # fmt: skip
    return classifier_on(bundle, name, num_classes, str(weights)).to(device=device, dtype=dtype)


def classifier_on(bundle: Bundle, name: str, num_classes: int, where: str) -> ClassifierModel:
    """A model with the bundle's encoder and a fresh classifier, on the CPU; HarnetError if it is not a `name`."""
    if bundle.config.architecture != name:
        raise HarnetError(f"{where}: holds {bundle.config.architecture}, expected {name}: "
                          f"ask for {bundle.config.architecture!r} or pass other weights")  # fmt: skip
    model = ClassifierModel(name, num_classes, standardise=bundle.config.standardise, width=bundle.config.width)
    model.feature_extractor.load_state_dict(encoder_state(bundle.state), strict=True)
    return model


def load_classifier(source: str | Path, device: str | torch.device = "cpu") -> tuple[ClassifierModel, tuple[str, ...]]:
    """A fine-tuned model in evaluation mode, and the names of its classes in the order of its outputs.

    HarnetError as `read_bundle` raises it, and for a bundle that has no classifier.
    """
    bundle = read_bundle(source)
    if not bundle.config.classes:
        raise HarnetError(f"{source}: holds an encoder without a classifier: use create_model, or fine-tune it first")
    return build_classifier(bundle).to(device).eval(), bundle.config.classes


def list_models() -> list[str]:
    """Names of the architectures that `create_model` builds."""
    return list(ARCHITECTURES)


def build_classifier(bundle: Bundle) -> ClassifierModel:
    """The fine-tuned model that a bundle with classes describes, on the CPU."""
    config = bundle.config
    model = ClassifierModel(
        config.architecture, len(config.classes), standardise=config.standardise, width=config.width
    )
    wanted = ("feature_extractor.", CLASSIFIER_PREFIX)
    model.load_state_dict({k: v for k, v in bundle.state.items() if k.startswith(wanted)}, strict=True)
    return model
