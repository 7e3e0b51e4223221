"""The contract of a state dict: which tensors a file of weights must and may hold.

A loader that skips what it does not find gives an encoder of random numbers and no error. So every tensor is accounted
for here, by name, shape and dtype, and nothing is ever loaded in part.
"""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from harnet.encoder import PUBLISHED_WIDTH, find_architecture, lowpass_kernel
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS, Classifier, PretextModel

ENCODER_PREFIX = "feature_extractor."
CLASSIFIER_PREFIX = "classifier."

KERNEL_TOLERANCE = 1e-6
"""Largest difference of a stored down-sampling kernel from the architecture's; they are constants."""

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
    """Name -> (shape, dtype) of the 131 tensors of that encoder, as named in a whole model."""
    return {name: row for name, row in _pretext_layout(architecture, width).items() if name.startswith(ENCODER_PREFIX)}


def check_state(state: Mapping[str, Tensor], architecture: str, width: int, classes: int, where: str) -> None:
    """Raise HarnetError, beginning with `where`, unless `state` is exactly what such a file may hold.

    That is: all tensors of the encoder; any pretext heads, each whole; the classifier of `classes` outputs if
    `classes` is not 0; nothing else. Shapes and dtypes as built; every value finite; variances not negative;
    down-sampling kernels those of the architecture.
    """
    expected = _expected(state, architecture, width, classes)
    _check_names(state, expected, architecture, where)
    wanted = architecture if width == PUBLISHED_WIDTH else f"{architecture} of width {width}"
    for name, (shape, dtype) in expected.items():
        found = state[name]
        if tuple(found.shape) != shape or found.dtype != dtype:
            raise HarnetError(
                f"{where}: {name} is {tuple(found.shape)} {found.dtype}, {wanted} expects {shape} {dtype}: "
                "weights of another architecture or damaged; export them again"
            )
        _check_values(name, found, where)
    _check_kernels(state, architecture, where)


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
            return f"the names carry the prefix {prefix!r} of a training wrapper; remove it and export again"
    if any(ENCODER_PREFIX + name in expected for name in unexpected):
        return f"the names lack the prefix {ENCODER_PREFIX!r}; export the whole model"
    return "nothing was loaded; export the weights again"


def _check_values(name: str, tensor: Tensor, where: str) -> None:
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise HarnetError(f"{where}: {name} has {bad} values that are not finite: the training diverged or the file "
                          "is damaged; export an earlier checkpoint")  # fmt: skip
    if name.endswith("running_var") and (tensor < 0).any():
        raise HarnetError(f"{where}: {name} has a negative variance ({tensor.min().item():.3g}): the file is damaged")


def _check_kernels(state: Mapping[str, Tensor], architecture: str, where: str) -> None:
    for number, stage in enumerate(find_architecture(architecture).stages, start=1):
        name = f"{ENCODER_PREFIX}layer{number}.{stage.blocks + 3}.kernel"
        wanted = torch.from_numpy(lowpass_kernel(stage.factor, stage.order))
        difference = (state[name].cpu() - wanted).abs().max().item()
        if difference > KERNEL_TOLERANCE:
            raise HarnetError(
                f"{where}: {name} differs by {difference:.2g} from the fixed low-pass kernel of {architecture}: "
                "weights of another model; export them again"
            )
