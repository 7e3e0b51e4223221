"""torch.compile with a way back: a network that does not compile is trained as it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from pretrain.objectives import PreparedBatch
from pretrain.parallel.distributed import Process

Prepare = Callable[[Tensor, Tensor], PreparedBatch]
"""`Objective.prepare`: stored counts and keys to what the network is given."""

DRAWN_ALIKE_G = 1e-3
"""By which a sample may differ, in g, between transforms as written and compiled: rounding, seen at a steep place."""

CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
"""Modes that replay recorded kernels, which read and write the same memory every time."""


def compile_mode(mode: str, device: torch.device) -> str:
    """`auto` in words: compiled on CUDA, and not on the CPU, where it takes minutes for little."""
    if mode != "auto":
        return mode
    return "default" if device.type == "cuda" else "off"


def compile_or_fall_back(network: nn.Module, mode: str, trial: Callable[[], object], process: Process) -> str:
    """Compile `network` in place and try it; return what came of it, in one line.

    In place, so that names in the state dict stay. `trial` runs it forward and backward exactly as a step will, only
    without exchanging anything between processes; that leaves no trace in the batch statistics, and no gradients. All
    processes go the same way: if the compiler fails on one of them, none uses it.
    """
    buffers = [buffer.clone() for buffer in network.buffers()]
    problem = ""
    network.compile(mode=mode)
    try:
        trial()
    except Exception as error:  # whatever the compiler's back end raises, or the C++ compiler behind it
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error) else repr(error)
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
    failures = process.sum(torch.tensor(float(bool(problem)), device=process.device)).item()
    if not failures:
        return f"compiled, mode {mode}"
    # An error that is not the compiler's own comes again at the first step, and stops the run there.
    network._compiled_call_impl = None
    return f"not compiled, going on without: {problem or 'another process could not'}"


def compiled_if_equal(prepare: Prepare, counts: Tensor, keys: Tensor) -> tuple[Prepare, str]:
    """`prepare` compiled, if that gives on `counts` and `keys` what it gives as written; and what came of it, in words.

    Some 300 small kernels become a few. The check is there since draws are integer hashes, which must wrap around at
    64 bits: a compiler that thinks otherwise would train on other windows, and nothing would look wrong.
    """
    compiled: Prepare = torch.compile(prepare, dynamic=False)
    # First as written, which makes the tables that the compiler is to find.
    expected = prepare(counts, keys)
    try:
        found = compiled(counts, keys)
    except Exception as error:  # as in `compile_or_fall_back`
        return prepare, f"transforms not compiled: {type(error).__name__}"
    if not _alike(found, expected):
        return prepare, "transforms not compiled: they would differ from those as written"
    return compiled, "transforms compiled"


def _alike(found: PreparedBatch, expected: PreparedBatch) -> bool:
    pairs = [(found.inputs, expected.inputs), *((found.targets[name], one) for name, one in expected.targets.items())]
    return all(torch.allclose(one.float(), other.float(), rtol=0.0, atol=DRAWN_ALIKE_G) for one, other in pairs)


def without_compilation() -> AbstractContextManager[object]:
    """While entered, networks run as they are written, compiled or not.

    Held-out windows and the probe come in other numbers and in evaluation mode: each would be compiled anew, for
    minutes, to be computed in seconds.
    """
    context: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return context
