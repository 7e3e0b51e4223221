"""torch.compile with a way back: a network that does not compile is trained as it is."""

import torch
from torch import Tensor, nn

from pretrain.parallel.distributed import Process


def compile_or_go_on(network: nn.Module, mode: str, inputs: Tensor, precision: torch.dtype, process: Process) -> str:
    """Compile `network` in place and try it, forward and backward, on `inputs`; return what came of it, in one line.

    In place, so that names in the state dict stay. The trial leaves no trace in the batch statistics, and no
    gradients. All processes go the same way: if the compiler fails on one of them, none uses it.
    """
    buffers = [buffer.clone() for buffer in network.buffers()]
    problem = ""
    network.compile(mode=mode)
    try:
        with torch.autocast(process.device.type, precision, enabled=precision != torch.float32):
            output: Tensor = network(inputs)
        output.float().square().mean().backward()
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
