"""Loading weights: one call for downstream users, and a one-line error for anything that is not exactly right."""

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
from harnet.linear_probe import LinearProbe
from harnet.weights.bundle_config import BundleConfig, parse_config
from harnet.weights.bundle_files import CONFIG, MODEL
from harnet.weights.bundle_source import open_source, read_checked
from harnet.weights.contract import (
    CLASSIFIER_PREFIX,
    ENCODER_PREFIX,
    PROBE_PREFIX,
    check_probe,
    check_state,
    encoder_state,
)
from harnet.weights.half import widened
from harnet.weights.packaged import model_names, packaged
from harnet.weights.published import is_published, read_published


@dataclass(frozen=True)
class Bundle:
    """The checked contents of a bundle."""

    state: dict[str, Tensor]
    """Every tensor of the file, on the CPU; passed `check_state`. With a linear classifier, its encoder's too."""
    config: BundleConfig
    """`config.json`."""
    digest: str
    """SHA-256 of model.safetensors in hexadecimal; identifies the weights."""


def read_bundle(source: str | Path, download: bool = False) -> Bundle:
    """Read and check a bundle (local folder, packaged model, fsspec URL or Hugging Face Hub id) or a published
    checkpoint (.mdl).

    HarnetError if a file is missing, damaged or not listed in SHA256SUMS, or if the tensors are not exactly those of
    the architecture in config.json. Never uses the network unless `source` is a URL, or `download` is set and
    `source` is a Hub id that is not in the local cache. Only the tensors of a checkpoint are unpickled
    (`weights_only`).
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
        raise HarnetError(f"{where}: not a complete safetensors file ({error}): fetch it again") from error
    digest = hashlib.sha256(content).hexdigest()
    if config.encoder:
        check_probe(state, config.architecture, config.width, len(config.classes), where)
        return Bundle(state | _encoder_below(config, where), config, digest)
    if config.stored == "float16":
        state = widened(state)
    check_state(state, config.architecture, config.width, len(config.classes), where)
    return Bundle(state, config, digest)


def _encoder_below(config: BundleConfig, where: str) -> dict[str, Tensor]:
    """Tensors of the packaged encoder that a linear classifier was fitted to; HarnetError if its digest differs."""
    # Only from the package: a downloaded file must not determine which other files are read.
    folder = packaged(config.encoder)
    below = None if folder is None else read_bundle(folder)
    if below is None or below.digest != config.encoder_digest:
        raise HarnetError(f"{where}: was fitted to {config.encoder} {config.encoder_digest[:12]}…, which is not in "
                          "this version of harnet: use the version that it came with")  # fmt: skip
    if (below.config.architecture, below.config.width) != (config.architecture, config.width):
        raise HarnetError(
            f"{where}: states {config.architecture} of width {config.width}, which {config.encoder} is not"
        )
    return {name: tensor for name, tensor in below.state.items() if name.startswith(ENCODER_PREFIX)}


def load_encoder(
    source: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    download: bool = False,
) -> Encoder:
    """Load the encoder of a bundle, in evaluation mode, on `device`; weights are float32 unless `dtype` is given.

    `source` is a local folder, a packaged model (`list_models`), an fsspec URL, a Hugging Face Hub id (from the local
    cache; downloaded only with `download`) or a published checkpoint (.mdl). Raises HarnetError as `read_bundle` does.
    """
    bundle = read_bundle(source, download)
    return build_encoder(bundle).to(device=device, dtype=dtype).eval()


def build_encoder(bundle: Bundle) -> Encoder:
    """The encoder that a bundle describes, with its weights, on the CPU."""
    # Built on the meta device: drawing ten million random numbers only to overwrite them takes a tenth of a second
    # and would advance the caller's random generator.
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
    """Encoder `name` with a new classifier of `num_classes` outputs, in training mode, on `device`.

    `name` is an architecture, or a packaged model, which has its own weights; `list_models` lists both.
    With `weights` (anything that `load_encoder` takes) the encoder is loaded, including its width and normalisation.
    Without, it is randomly initialised, has the published width unless `width` is given, and does not standardise
    windows. Parameters are float32 unless `dtype` is given. Random parameters are drawn from torch's global generator:
    seed it with `torch.manual_seed`.

    HarnetError if `weights` has another architecture or width than requested, and as `read_bundle` raises it.
    """
    if num_classes < 1:
        raise HarnetError(f"num_classes {num_classes!r}: must be at least 1")
    if (folder := packaged(name)) is not None:
        if weights is not None:
            raise HarnetError(f"{name}: has its own weights: omit weights={str(weights)!r}, or name an "
                              f"architecture ({', '.join(ARCHITECTURES)})")  # fmt: skip
        bundle = read_bundle(folder)
        name, weights = bundle.config.architecture, name
    elif name not in ARCHITECTURES:
        raise HarnetError(f"model {name!r}: no such architecture or packaged model; one of: {', '.join(list_models())}")
    elif weights is None:
        return ClassifierModel(name, num_classes, width=width or PUBLISHED_WIDTH).to(device=device, dtype=dtype)
    else:
        bundle = read_bundle(weights, download)
    if width not in (None, bundle.config.width):
        raise HarnetError(f"{weights}: holds width {bundle.config.width}, expected {width}: "
                          "omit width or pass other weights")  # fmt: skip
    return classifier_on(bundle, name, num_classes, str(weights)).to(device=device, dtype=dtype)


def classifier_on(bundle: Bundle, name: str, num_classes: int, where: str) -> ClassifierModel:
    """The bundle's encoder with a new classifier, on the CPU; HarnetError if its architecture is not `name`."""
    if bundle.config.architecture != name:
        raise HarnetError(f"{where}: holds {bundle.config.architecture}, expected {name}: "
                          f"ask for {bundle.config.architecture!r} or pass other weights")  # fmt: skip
    model = ClassifierModel(name, num_classes, standardise=bundle.config.standardise, width=bundle.config.width)
    model.feature_extractor.load_state_dict(encoder_state(bundle.state), strict=True)
    return model


def load_classifier(
    source: str | Path, device: str | torch.device = "cpu"
) -> tuple[ClassifierModel | LinearProbe, tuple[str, ...]]:
    """A fine-tuned model, in evaluation mode on `device`, and its class names in the order of the outputs.

    HarnetError as `read_bundle` raises it, and if the bundle has no classifier.
    """
    bundle = read_bundle(source)
    if not bundle.config.classes:
        raise HarnetError(f"{source}: holds an encoder without a classifier: use create_model, or fine-tune it first")
    return build_classifier(bundle).to(device).eval(), bundle.config.classes


def list_models() -> list[str]:
    """Names that `create_model` takes: architectures, and the models with weights that come with the package."""
    return [*ARCHITECTURES, *model_names()]


def build_classifier(bundle: Bundle) -> ClassifierModel | LinearProbe:
    """The fine-tuned model or linear classifier of a bundle that has classes, with its weights, on the CPU."""
    config = bundle.config
    if config.encoder:
        probe = LinearProbe(build_encoder(bundle), len(config.classes))
        probe.linear.load_state_dict(
            {name.removeprefix(PROBE_PREFIX): t for name, t in bundle.state.items() if name.startswith(PROBE_PREFIX)}
        )
        return probe
    model = ClassifierModel(
        config.architecture, len(config.classes), standardise=config.standardise, width=config.width
    )
    prefixes = ("feature_extractor.", CLASSIFIER_PREFIX)
    model.load_state_dict({k: v for k, v in bundle.state.items() if k.startswith(prefixes)}, strict=True)
    return model
