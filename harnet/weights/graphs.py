"""Exporting weights as graphs that run without this package: ONNX and `torch.export`, each verified against torch.

Both take a batch of any size and return (N, F) features, or (N, classes) logits for a model with a classifier.
Standardisation, if any, is part of the graph, so callers pass windows in g in either case.
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
"""ONNX operator-set version, released in 2022, so that runtimes a few years old support it."""

TOLERANCE = 1e-4
"""Maximum difference between an exported graph and torch, relative to the largest output (float32)."""

_BATCHES = (1, 2, 7)
"""Batch sizes with which a graph is verified: tracers tend to specialise on 1 and 2."""


class _Features(nn.Module):
    """An encoder that returns (N, F) instead of (N, F, 1)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, windows: Tensor) -> Tensor:
        """(N, 3, L) -> (N, F)."""
        return self.encoder(windows).flatten(1)


def exported_program(model: Encoder | ClassifierModel) -> torch.export.ExportedProgram:
    """The model as a `torch.export` graph with a dynamic batch dimension, free of local paths."""
    whole, length = _whole(model)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(whole, (torch.zeros(2, AXES, length),), dynamic_shapes=({0: batch},))
    # Stack traces kept for debugging contain local paths, which reveal the exporter's user name and machine.
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
    return program


def program_bytes(model: Encoder | ClassifierModel) -> bytes:
    """Content of a file for `torch.export.load(path).module()`; HarnetError if it differs from torch when reloaded."""
    buffer = io.BytesIO()
    torch.export.save(exported_program(model), buffer)
    content = buffer.getvalue()
    again = torch.export.load(io.BytesIO(content)).module()
    _compare(model, lambda windows: again(windows).detach().numpy(), "torch.export program")
    return content


def onnx_bytes(model: Encoder | ClassifierModel) -> bytes:
    """Content of an ONNX file, verified with onnxruntime against torch.

    Needs the packages of the extra "onnx". HarnetError if the outputs differ by more than `TOLERANCE`, which points
    to a bug in the installed versions.
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
            raise HarnetError(f"{what}: returns {found.shape} for {count} windows, torch {expected.shape}: not "
                              "written; use the versions in constraints.txt")  # fmt: skip
        difference = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
        if not difference <= TOLERANCE:
            raise HarnetError(f"{what}: differs from torch by {difference:.2g}, more than the allowed {TOLERANCE:g}: "
                              "not written; use the versions in constraints.txt")  # fmt: skip


def _without_metadata(model: Any) -> Any:
    """Strip the source locations of each node from the model: they contain local paths."""
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer,
                   *model.graph.input, *model.graph.output, *model.functions):  # fmt: skip
        holder.doc_string = ""
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress output and warnings, which a user cannot act on."""
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
