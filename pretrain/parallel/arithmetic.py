"""Arithmetic of the device: as fast as possible, or deterministic."""

import os

import torch


def configure(device: torch.device, deterministic: bool) -> None:
    """Set it for this process; call this before anything is computed on `device`.

    Without `deterministic`, cuDNN benchmarks its algorithms and takes the fastest, which may differ from start to
    start, and sums may run in any order: results agree up to rounding. With it, every operation uses its deterministic
    algorithm (docs.pytorch.org, "Reproducibility"); operations that have none give a warning.
    """
    # Every batch has the same shape, so cuDNN's search for the fastest convolution pays off.
    torch.backends.cudnn.benchmark = device.type == "cuda" and not deterministic
    # fp32 must mean fp32: with TF32, cuDNN keeps 10 bits of the mantissa, and losses would differ from the CPU's.
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    if deterministic:
        # Read when cuBLAS is first used; without it, the workspace, and so the order of sums, depends on the stream.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
