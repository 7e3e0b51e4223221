"""torch.compile with a fallback: a network that fails to compile is trained without."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from pretrain.objectives import PreparedBatch
from pretrain.parallel.distributed import Process

Prepare = Callable[[Tensor, Tensor], PreparedBatch]
"""`Objective.prepare`: from stored counts and keys to the network's input."""

TOLERANCE_G = 1e-3
"""Tolerance per sample, in g, between compiled and uncompiled transforms: rounding, where the signal is steep."""

CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
"""Modes that use CUDA graphs: recorded kernels that read and write the same memory at every replay."""


def compile_mode(mode: str, device: torch.device) -> str:
    """The mode with `auto` resolved: compiled on CUDA; off on the CPU, where it takes minutes for little gain."""
    if mode != "auto":
        return mode
    return "default" if device.type == "cuda" else "off"


def compile_or_fall_back(network: nn.Module, mode: str, trial: Callable[[], object], process: Process) -> str:
    """Compile `network` in place and try it; return one line that says whether it worked.

    In place, so that state dict names stay the same. `trial` runs it forward and backward exactly as a step will, but
    without communication between ranks; batch statistics are restored and gradients cleared afterwards. All ranks do
    the same: if the compiler fails on one of them, none uses it.
    """
    buffers = [buffer.clone() for buffer in network.buffers()]
    problem = ""
    network.compile(mode=mode)
    try:
        trial()
    except Exception as error:  # anything the compiler's back end may raise, or the C++ compiler it calls
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error) else repr(error)
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
    failures = process.sum(torch.tensor(float(bool(problem)), device=process.device)).item()
    if not failures:
        return f"compiled, mode {mode}"
    # An error that was not the compiler's will recur at the first step, and stop the run there.
    network._compiled_call_impl = None
    return f"not compiled, continuing without: {problem or 'compilation failed on another rank'}"


def compiled_if_equal(prepare: Prepare, counts: Tensor, keys: Tensor) -> tuple[Prepare, str]:
    """`prepare` compiled, if it gives the same result on `counts` and `keys` as uncompiled; and one line about it.

    Some 300 small kernels become a few. The check exists because draws are integer hashes that must wrap around at
    64 bits: a compiler that did otherwise would silently train on different windows.
    """
    compiled: Prepare = torch.compile(prepare, dynamic=False)
    # Uncompiled first, which creates the tables that the compiler must find.
    expected = prepare(counts, keys)
    try:
        found = compiled(counts, keys)
    except Exception as error:  # as in `compile_or_fall_back`
        return prepare, f"transforms not compiled: {type(error).__name__}"
    if not _same_results(found, expected):
        return prepare, "transforms not compiled: their results would differ"
    return compiled, "transforms compiled"


def _same_results(found: PreparedBatch, expected: PreparedBatch) -> bool:
    pairs = [(found.inputs, expected.inputs), *((found.targets[name], one) for name, one in expected.targets.items())]
    return all(torch.allclose(one.float(), other.float(), rtol=0.0, atol=TOLERANCE_G) for one, other in pairs)


def without_compilation() -> AbstractContextManager[object]:
    """While entered, networks run uncompiled.

    Held-out windows and the probe have other batch sizes and run in evaluation mode: each would trigger a
    recompilation of minutes for a computation of seconds.
    """
    context: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return context
