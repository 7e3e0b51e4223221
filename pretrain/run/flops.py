"""Model FLOP utilisation: the share of the device's peak arithmetic that goes into the network itself.

Chowdhery et al. 2022 (PaLM), appendix B: the FLOPs that the network needs, forward and backward without recomputation,
divided by what the device could do in the same time. Transforms and the optimiser do not count.
"""

import copy
import time

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from data_shards.layout import RATE
from pretrain.objectives.objective import Objective

BACKWARD = 2
"""A backward pass needs twice the FLOPs of the forward pass: for the gradients of inputs and of weights."""

PEAK: dict[str, dict[str, float]] = {
    "H200": {"bf16": 989e12, "fp32": 67e12},
    "H100 80GB HBM3": {"bf16": 989e12, "fp32": 67e12},
    "H100 PCIe": {"bf16": 756e12, "fp32": 51e12},
    "A100": {"bf16": 312e12, "fp32": 19.5e12},
    "V100": {"fp32": 15.7e12},
    "L40S": {"bf16": 362e12, "fp32": 91.6e12},
}
"""Part of the device's name -> FLOP/s, dense, from NVIDIA's data sheets of these products (fp32 without TF32)."""

_SIDE = {"cpu": 1024, "cuda": 8192}
"""Size of the square matrices that are multiplied to time devices missing from the table: enough to keep them busy."""


def per_window(objective: Objective, network: nn.Module) -> float:
    """FLOPs per window, forward and backward, counted by torch on two windows."""
    windows = torch.zeros(2, 3, objective.seconds * RATE, dtype=torch.int16)
    inputs = objective.prepare(windows, torch.zeros(2, dtype=torch.int64)).inputs
    trial = copy.deepcopy(network).cpu().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        trial(inputs)
    return (1 + BACKWARD) * counter.get_total_flops() / 2


def peak(device: torch.device, precision: str) -> tuple[float, str]:
    """Peak FLOP/s of the device, and where the figure comes from."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, figures in PEAK.items():
            if part in name and precision in figures:
                return figures[precision], "data sheet"
    return _measured(device, torch.bfloat16 if precision == "bf16" else torch.float32), "matrix product, measured"


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of five products of square matrices, with the threads of this process."""
    side = _SIDE[device.type]
    x = torch.ones(side, side, device=device, dtype=dtype)
    best = min(_seconds(x) for _ in range(5))
    return 2 * side**3 / best


def _seconds(x: Tensor) -> float:
    _wait(x.device)
    start = time.perf_counter()
    _ = x @ x
    _wait(x.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
