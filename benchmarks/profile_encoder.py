"""Where the time of a step goes: by stage of the encoder against what the device could do at best, and by operation."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from harnet.encoder import Encoder


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device, budget: float = 1.0) -> float:
    """Median seconds of `work`, repeated for about `budget` seconds, at least three times, after one not counted."""
    work()
    wait(device)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 50):
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def bandwidth(device: torch.device) -> float:
    """Bytes/s that the device copies, read and written both counted, with arrays larger than its caches."""
    source = torch.ones((1 << 28) if device.type == "cuda" else (1 << 26), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device)


def stages(encoder: Encoder, batch: int, bf16: bool, peak: float, device: torch.device) -> list[dict[str, Any]]:
    """A row for each stage: forward and backward milliseconds, GFLOP, and what bounds it.

    `least_arithmetic_ms` is the stage's FLOPs at the device's peak; `least_memory_ms` its reading and writing at the
    bandwidth of a copy, if every operation reads its input and writes its output once and none is fused with another.
    """
    speed = bandwidth(device)
    x = torch.randn(batch, 3, encoder.architecture.length, device=device)
    rows = []
    for name, stage in encoder.named_children():
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            rows.append(_stage(name, stage, x, peak, speed, device))
            with torch.no_grad():
                x = stage(x)
    return rows


def _stage(name: str, stage: nn.Module, x: Tensor, peak: float, speed: float, device: torch.device) -> dict[str, Any]:
    x = x.detach().requires_grad_()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        stage(x)
    moved = _bytes_moved(stage, x)
    output = stage(x)
    gradient, parameters = torch.ones_like(output), [x, *stage.parameters()]
    forward = seconds(lambda: stage(x), device)
    backward = seconds(lambda: torch.autograd.grad(output, parameters, gradient, retain_graph=True), device)
    # Backward does twice the arithmetic, and reads and writes about twice as much.
    arithmetic, memory = 3e3 * counter.get_total_flops() / peak, 3e3 * moved / speed
    return {
        "stage": name,
        "forward_ms": 1e3 * forward,
        "backward_ms": 1e3 * backward,
        "gflop": 3 * counter.get_total_flops() / 1e9,
        "least_arithmetic_ms": arithmetic,
        "least_memory_ms": memory,
        "bound_by": "arithmetic" if arithmetic > memory else "memory",
    }


def _bytes_moved(stage: nn.Module, x: Tensor) -> int:
    """Inputs and outputs of all modules without children, in a forward pass."""
    moved = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += sum(one.nbytes for one in inputs) + output.nbytes

    hooks = [module.register_forward_hook(count) for module in stage.modules() if not list(module.children())]
    with torch.no_grad():
        stage(x)
    for hook in hooks:
        hook.remove()
    return moved


def operations(work: Callable[[], object], device: torch.device, most: int = 12) -> list[dict[str, Any]]:
    """The operations that take most of the device's time while `work` is done three times."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as recorded:
        for _ in range(3):
            work()
        wait(device)
    on = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = recorded.key_averages()
    total = sum(getattr(event, on) for event in events) or 1.0
    ranked = sorted(events, key=lambda event: getattr(event, on), reverse=True)[:most]
    return [
        {"operation": one.key[:80], "share": getattr(one, on) / total, "calls_a_step": one.count / 3} for one in ranked
    ]
