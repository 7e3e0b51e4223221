"""Weights as graphs that run without this package: ONNX, checked against torch, and a `torch.export` program.

Both take a batch of any size. Both give (N, F) features, or (N, classes) logits of a model with a classifier; what
the model does to a window (standardisation) is inside the graph, so callers pass g in either case.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harnet.encoder import AXES, Encoder
from harnet.errors import HarnetError
from harnet.heads import ClassifierModel

INPUT, FEATURES, LOGITS = "windows", "features", "logits"

OPSET = 18
"""Version of ONNX's operators: of 2022, so that runtimes that are some years old know it."""

TOLERANCE = 1e-4
"""Largest difference from torch that an ONNX file may have, relative to the largest output (float32)."""

_BATCHES = (1, 2, 7)
"""Sizes of the batches with which a graph is checked: one and two are what tracers take for constants."""


class _Features(nn.Module):
    """An encoder whose last dimension of one is gone."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, windows: Tensor) -> Tensor:
        """(N, 3, L) -> (N, F)."""
        return self.encoder(windows).flatten(1)


def exported_program(model: Encoder | ClassifierModel) -> torch.export.ExportedProgram:
    """The model as a graph of torch's operators with a dynamic batch; it holds no path of this machine."""
    whole, length = _whole(model)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(whole, (torch.zeros(2, AXES, length),), dynamic_shapes=({0: batch},))
    # Lines of source with their folders are kept for debugging; they name the user and machine of whoever exports.
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
    return program


def program_bytes(model: Encoder | ClassifierModel) -> bytes:
    """A file that `torch.export.load(path).module()` reads, checked by reading it."""
    buffer = io.BytesIO()
    torch.export.save(exported_program(model), buffer)
    content = buffer.getvalue()
    again = torch.export.load(io.BytesIO(content)).module()
    _compare(model, lambda windows: again(windows).detach().numpy(), "torch.export program")
    return content


def onnx_bytes(model: Encoder | ClassifierModel) -> bytes:
    """An ONNX file, checked with onnxruntime against torch.

    Needs the packages of the extra "onnx". HarnetError if the file's output differs by more than `TOLERANCE`, which
    is a fault of the versions at hand.
    """
    import onnxruntime

    output = FEATURES if isinstance(model, Encoder) else LOGITS
    with _quiet():
        program = torch.onnx.export(
            exported_program(model),
            input_names=[INPUT],
            output_names=[output],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    content: bytes = _without_metadata(program.model_proto).SerializeToString(deterministic=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    _compare(model, lambda windows: session.run([output], {INPUT: windows.numpy()})[0], "ONNX file")
    return content


def _whole(model: Encoder | ClassifierModel) -> tuple[nn.Module, int]:
    if isinstance(model, Encoder):
        return _Features(model).eval(), model.architecture.length
    return model.eval(), model.feature_extractor.architecture.length


def _compare(model: Encoder | ClassifierModel, run: Any, what: str) -> None:
    whole, length = _whole(model)
    generator = torch.Generator().manual_seed(0)
    for count in _BATCHES:
        windows = 0.3 * torch.randn(count, AXES, length, generator=generator) + torch.tensor([0.0, 0.0, 1.0])[:, None]
        with torch.inference_mode():
            expected = whole(windows).numpy()
        found = run(windows)
        if found.shape != expected.shape:
            raise HarnetError(f"{what}: gives {found.shape} for {count} windows, torch {expected.shape}: not written; "
                              "use the versions in constraints.txt")  # fmt: skip
        difference = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
        if not difference <= TOLERANCE:
            raise HarnetError(f"{what}: differs by {difference:.2g} from torch, at most {TOLERANCE:g} is allowed: not "
                              "written; use the versions in constraints.txt")  # fmt: skip


def _without_metadata(model: Any) -> Any:
    """The same model without notes on the lines of source that each node came from: they hold paths of this machine."""
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer,
                   *model.graph.input, *model.graph.output, *model.functions):  # fmt: skip
        holder.doc_string = ""
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and its advice about itself, which a user cannot act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
