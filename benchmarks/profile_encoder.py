"""Where the time of a step goes: by stage of the encoder compared with the device's peak, and by operation.

python -m benchmarks.profile_encoder                         on a GPU: measured, and how far from the floor
python -m benchmarks.profile_encoder --flops 790e12 --bytes 4.3e12 --batch 4096
                                                             the floor alone, of a device with these rates, anywhere
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.layouts import LAYOUTS, SHIPPED
from harnet.encoder import AXES, KERNEL_SIZE, Architecture, Encoder, Stage, find_architecture
from pretrain.run import flops


def wait(device: torch.device) -> None:
    """Synchronise with the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device, budget: float = 1.0) -> float:
    """Median seconds of `work`, repeated for about `budget` seconds, at least three times, after a warm-up."""
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
    """Bandwidth of a copy on the device in bytes/s, reads plus writes, with arrays larger than its caches."""
    source = torch.ones((1 << 28) if device.type == "cuda" else (1 << 26), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device)


@dataclass(frozen=True)
class Floor:
    """Minimum arithmetic and memory traffic of a stage for a batch, forward and backward."""

    flops: float
    """Multiplications and additions of its convolutions, without down-sampling and everything else."""
    moved: float
    """Bytes, if everything that can be fused is fused."""

    def milliseconds(self, peak: float, bandwidth: float) -> tuple[float, float]:
        """Seconds of arithmetic and of memory traffic at these FLOP/s and bytes/s. The longer one is the floor."""
        return 1e3 * self.flops / peak, 1e3 * self.moved / bandwidth


def floor(stage: Stage, inputs: int, length: int, batch: int, width: int) -> Floor:
    """Cost of a stage whose input is (batch, `inputs`, `length`) values of `width` bytes.

    Forward, a convolution reads its input and writes its output once: normalisation, ReLU and padding happen on the
    way in, statistics and the residual on the way out. Backward does that twice (gradients of input and weight), and
    each normalisation must have summed over its input and gradient before it can pass anything on: two more reads.
    """
    signal, convolutions = stage.channels * length, 2 * stage.blocks
    forward = inputs * length + signal + convolutions * 2 * signal
    # What the residuals add, and down-sampling, with its normalisation.
    forward += stage.blocks * signal + signal + signal // stage.factor
    backward = 2 * forward + 2 * (convolutions + 1) * signal
    taps = KERNEL_SIZE * (inputs * stage.channels + convolutions * stage.channels**2) * length
    return Floor(3 * 2.0 * taps * batch, float(forward + backward) * batch * width)


def floors(architecture: Architecture, batch: int, width: int) -> dict[str, Floor]:
    """Cost of every stage, by name."""
    found, inputs, length = {}, AXES, architecture.length
    for number, stage in enumerate(architecture.stages, start=1):
        found[f"layer{number}"] = floor(stage, inputs, length, batch, width)
        taps = stage.order * (stage.factor - 1) + stage.factor
        padding = stage.order * (stage.factor - 1) // 2
        inputs, length = stage.channels, (length + 2 * padding - taps) // stage.factor + 1
    return found


def arithmetic(architecture: Architecture, batch: int, width: int, peak: float, speed: float) -> list[dict[str, Any]]:
    """A row per stage, and one in total: GFLOP, GB, the minimum time of each, and which of them is the bound."""
    rows: list[dict[str, Any]] = []
    for name, one in floors(architecture, batch, width).items():
        computing, moving = one.milliseconds(peak, speed)
        rows.append(
            {
                "stage": name,
                "gflop": one.flops / 1e9,
                "gb": one.moved / 1e9,
                "least_arithmetic_ms": computing,
                "least_memory_ms": moving,
                "floor_ms": max(computing, moving),
                "bound_by": "arithmetic" if computing > moving else "memory",
            }
        )
    total = sum(row["floor_ms"] for row in rows)
    return [*rows, {"stage": "all", "floor_ms": total, "windows_per_second": 1e3 * batch / total}]


def stages(
    encoder: Encoder, batch: int, bf16: bool, peak: float, device: torch.device, compiled: bool = False
) -> list[dict[str, Any]]:
    """The rows of `arithmetic`, with the measured time of each stage on this device, and its ratio to the floor.

    A stage that is compiled by itself cannot be fused with its neighbours, and what it takes includes reading its
    input from memory: the sum over stages is a little more than a step of the whole.
    """
    speed = bandwidth(device)
    rows = arithmetic(encoder.architecture, batch, 2 if bf16 else 4, peak, speed)
    x = encoder._prepared(torch.randn(batch, AXES, encoder.architecture.length, device=device))
    for row, stage in zip(rows, encoder.children(), strict=False):
        run: Callable[[Tensor], Tensor] = torch.compile(stage, dynamic=False) if compiled else stage
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            forward, backward = _timed(run, stage, x, device)
            with torch.no_grad():
                x = stage(x)
        row |= {
            "forward_ms": forward,
            "backward_ms": backward,
            "times_floor": (forward + backward) / row["floor_ms"],
        }
    return rows


def _timed(run: Callable[[Tensor], Tensor], stage: nn.Module, x: Tensor, device: torch.device) -> tuple[float, float]:
    """Milliseconds for forward and backward."""
    x = x.detach().requires_grad_()
    output = run(x)
    gradient, parameters = torch.ones_like(output), [x, *stage.parameters()]
    forward = seconds(lambda: run(x), device)
    both = seconds(lambda: torch.autograd.grad(run(x), parameters, gradient), device)
    return 1e3 * forward, 1e3 * (both - forward)


def operations(work: Callable[[], object], device: torch.device, most: int = 12) -> list[dict[str, Any]]:
    """The operations that take most of the device's time during three runs of `work`."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities, acc_events=True) as recorded:
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


def show(rows: list[dict[str, Any]]) -> None:
    """Print one row per line."""
    for row in rows:
        print(
            "  ".join(f"{name} {value:,.3g}" if isinstance(value, float) else str(value) for name, value in row.items())
        )


def main() -> None:
    """Print the tables: floors only, or measurements without and with compilation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="harnet10")
    parser.add_argument("--batch", type=int, default=0, help="windows; 4096 on a GPU or with --flops, else 64")
    parser.add_argument("--layout", choices=list(LAYOUTS), default=SHIPPED)
    parser.add_argument("--flops", type=float, help="FLOP/s of a device that is not in this machine")
    parser.add_argument("--bytes", type=float, help="bytes/s of its memory")
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    batch = arguments.batch or (4096 if cuda or arguments.flops else 64)
    if arguments.flops and arguments.bytes:
        architecture = find_architecture(arguments.architecture)
        show(arithmetic(architecture, batch, 2, arguments.flops, arguments.bytes))
        return
    device = torch.device("cuda" if cuda else "cpu")
    encoder = Encoder(arguments.architecture).to(device)
    LAYOUTS[arguments.layout](encoder)
    peak, source = flops.peak(device, "bf16" if cuda else "fp32")
    print(f"batch {batch}, {arguments.layout}, peak {peak / 1e12:.3g} TFLOP/s ({source})")
    for compiled in (False, True) if cuda else (False,):
        print("compiled" if compiled else "as written")
        show(stages(encoder, batch, cuda, peak, device, compiled))


if __name__ == "__main__":
    main()
