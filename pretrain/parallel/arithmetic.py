"""How the device computes: as fast as it can, or with the same bits whenever the same is computed again."""

import os

import torch


def configure(device: torch.device, deterministic: bool) -> None:
    """Settle it for this process, before anything is computed on `device`.

    Without `deterministic` cuDNN times its algorithms at the start and takes the fastest, which may be another one in
    the next start, and sums may be taken in any order: results repeat to rounding. With it every operation takes the
    form that repeats (docs.pytorch.org, "Reproducibility"); one that has none is named in a warning.
    """
    # Every batch has the same shape, so that cuDNN's search for the fastest convolution pays.
    torch.backends.cudnn.benchmark = device.type == "cuda" and not deterministic
    # fp32 is to be that: cuDNN would keep ten bits of it (TF32), and losses would not be those of the CPU.
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    if deterministic:
        # cuBLAS reads it when it is first used; without it, it picks its workspace, and so its sums, by stream.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
