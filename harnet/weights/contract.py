"""The contract of a state dict: which tensors a weights file must and may contain.

A loader that skips missing tensors silently yields a randomly initialised encoder. So every tensor is accounted for
here, by name, shape and dtype, and nothing is ever loaded partially.
"""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from harnet.encoder import PUBLISHED_WIDTH, Encoder, find_architecture, lowpass_kernel
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS, Classifier, PretextModel
from harnet.linear_probe import LinearProbe

ENCODER_PREFIX = "feature_extractor."
CLASSIFIER_PREFIX = "classifier."
PROBE_PREFIX = "linear."

KERNEL_TOLERANCE = 1e-6
"""Maximum absolute difference between a stored down-sampling kernel and the architecture's constant."""

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]


def _layout(state: Mapping[str, Tensor]) -> Layout:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}


@cache
def _pretext_layout(architecture: str, width: int) -> Layout:
    with torch.device("meta"):
        return _layout(PretextModel(architecture, width=width).state_dict())


@cache
def _classifier_layout(features: int, classes: int) -> Layout:
    with torch.device("meta"):
        state = Classifier(features, classes).state_dict()
    return {CLASSIFIER_PREFIX + name: row for name, row in _layout(state).items()}


def encoder_layout(architecture: str, width: int) -> Layout:
    """Name -> (shape, dtype) of the encoder's 131 tensors, as named in a complete model."""
    return {name: row for name, row in _pretext_layout(architecture, width).items() if name.startswith(ENCODER_PREFIX)}


def check_state(state: Mapping[str, Tensor], architecture: str, width: int, classes: int, where: str) -> None:
    """Raise HarnetError, prefixed with `where`, unless `state` satisfies the contract.

    It must contain all tensors of the encoder, any number of complete pretext heads, the classifier of `classes`
    outputs if `classes` is not 0, and nothing else. Shapes and dtypes are those of the model; all values are finite;
    variances are not negative; down-sampling kernels are those of the architecture.
    """
    _check(state, _expected(state, architecture, width, classes), architecture, width, where)
    _check_kernels(state, architecture, where)


def _check(state: Mapping[str, Tensor], expected: Layout, architecture: str, width: int, where: str) -> None:
    """Names, shapes, dtypes and values."""
    _check_names(state, expected, architecture, where)
    described = architecture if width == PUBLISHED_WIDTH else f"{architecture} of width {width}"
    for name, (shape, dtype) in expected.items():
        found = state[name]
        if tuple(found.shape) != shape or found.dtype != dtype:
            raise HarnetError(
                f"{where}: {name} is {tuple(found.shape)} {found.dtype}, {described} expects {shape} {dtype}: "
                "weights of another architecture or damaged; export them again"
            )
        _check_values(name, found, where)


def check_probe(state: Mapping[str, Tensor], architecture: str, width: int, classes: int, where: str) -> None:
    """The same for a linear classifier whose encoder is stored elsewhere."""
    with torch.device("meta"):
        built = LinearProbe(Encoder(architecture, width=width), classes).state_dict()
    expected = _layout({name: tensor for name, tensor in built.items() if name.startswith(PROBE_PREFIX)})
    _check(state, expected, architecture, width, where)


def encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors, named as in `Encoder.state_dict()`."""
    return {name.removeprefix(ENCODER_PREFIX): t for name, t in state.items() if name.startswith(ENCODER_PREFIX)}


def _expected(state: Mapping[str, Tensor], architecture: str, width: int, classes: int) -> Layout:
    expected = encoder_layout(architecture, width)
    for head in PRETEXT_HEADS.values():
        rows = {name: row for name, row in _pretext_layout(architecture, width).items() if name.startswith(f"{head}.")}
        if not state.keys().isdisjoint(rows):
            expected |= rows
    if classes:
        expected |= _classifier_layout(find_architecture(architecture, width).features, classes)
    return expected


def _check_names(state: Mapping[str, Tensor], expected: Layout, architecture: str, where: str) -> None:
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    if not missing and not unexpected:
        return
    parts = [
        f"{len(names)} {word} (such as {', '.join(repr(name[:80]) for name in names[:2])})"
        for names, word in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    raise HarnetError(
        f"{where}: expected the {len(expected)} tensors of {architecture}, found {len(state)}: "
        f"{'; '.join(parts)}: {_remedy(unexpected, expected)}"
    )


def _remedy(unexpected: list[str], expected: Layout) -> str:
    for prefix in ("module.", "_orig_mod."):
        if any(name.startswith(prefix) and name.removeprefix(prefix) in expected for name in unexpected):
            return f"the names have the prefix {prefix!r} of a training wrapper; remove it and export again"
    if any(ENCODER_PREFIX + name in expected for name in unexpected):
        return f"the names lack the prefix {ENCODER_PREFIX!r}; export the complete model"
    return "nothing was loaded; export the weights again"


def _check_values(name: str, tensor: Tensor, where: str) -> None:
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise HarnetError(f"{where}: {name} has {bad} values that are not finite: training diverged or the file is "
                          "damaged; export an earlier checkpoint")  # fmt: skip
    if name.endswith("running_var") and (tensor < 0).any():
        raise HarnetError(f"{where}: {name} has a negative variance ({tensor.min().item():.3g}): the file is damaged")


def _check_kernels(state: Mapping[str, Tensor], architecture: str, where: str) -> None:
    for number, stage in enumerate(find_architecture(architecture).stages, start=1):
        name = f"{ENCODER_PREFIX}layer{number}.{stage.blocks + 3}.kernel"
        expected = torch.from_numpy(lowpass_kernel(stage.factor, stage.order))
        difference = (state[name].cpu() - expected).abs().max().item()
        if difference > KERNEL_TOLERANCE:
            raise HarnetError(
                f"{where}: {name} differs by {difference:.2g} from the fixed low-pass kernel of {architecture}: "
                "weights of another model; export them again"
            )
