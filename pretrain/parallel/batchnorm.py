"""Batch normalisation over the windows of all ranks, so that losses do not depend on the world size.

torch's SyncBatchNorm does this on GPUs and rejects CPU tensors. `CpuSyncBatchNorm` is its equivalent for the CPU and
gloo, for tests of exactness and for training without GPUs.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretrain.parallel.distributed import Process


def synchronise(network: nn.Module, process: Process) -> nn.Module:
    """The network with every batch normalisation synchronised over all ranks; state dict names do not change."""
    if process.world == 1:
        return network
    if process.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for module in network.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            # Parameters and buffers stay as they are; only `forward` changes.
            module.__class__ = CpuSyncBatchNorm
    return network


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Normalisation over the batches of all ranks together; (N, C, ...) or (N, C), and N may differ between ranks.

    Every rank must run it the same number of times, forward and backward.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape with channels in the second dimension is accepted."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the statistics of all ranks in training mode, by the running statistics in evaluation mode."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        output, mean, variance, count = _Normalise.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            unbiased = variance * (count / (count - 1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return output


class _Normalise(torch.autograd.Function):
    """Ioffe and Szegedy 2015, algorithm 1, and its derivative, with every sum over the batch taken over all ranks.

    The variance is computed about the mean, in a second all-reduce: mean of squares minus squared mean would lose
    digits where a channel's mean is large. Gradients of weight and bias are this rank's own, since DDP averages them
    like all others.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x if x.dtype == torch.float64 else x.float()
        over = [dimension for dimension in range(x.dim()) if dimension != 1]
        first = torch.cat([wide.sum(over), wide.new_tensor([x.numel() / x.shape[1]])])
        dist.all_reduce(first)
        count = first[-1]
        mean = first[:-1] / count
        centred = wide - _along(mean, x)
        squares = centred.square().sum(over)
        dist.all_reduce(squares)
        variance = squares / count
        scale = torch.rsqrt(variance + eps)
        normed = centred * _along(scale, x)
        ctx.save_for_backward(normed, weight, scale, count)
        ctx.over = over
        ctx.mark_non_differentiable(mean, variance, count)
        return (normed * _along(weight, x) + _along(bias, x)).to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        normed, weight, scale, count = ctx.saved_tensors
        gradient = gradients[0].to(normed.dtype)
        bias_gradient, weight_gradient = gradient.sum(ctx.over), (gradient * normed).sum(ctx.over)
        # Every rank's loss is a mean over its own windows, so no factor of the world size is needed here: the sums
        # below are over the gradients of all these losses, and DDP divides by their number at the end.
        sums = torch.stack([bias_gradient, weight_gradient])
        dist.all_reduce(sums)
        mean_gradient, mean_projection = sums / count
        inner = gradient - _along(mean_gradient, normed) - normed * _along(mean_projection, normed)
        x_gradient = (inner * _along(weight * scale, normed)).to(gradients[0].dtype)
        return x_gradient, weight_gradient, bias_gradient, None


def _along(channels: Tensor, like: Tensor) -> Tensor:
    """(C,) reshaped to broadcast along the second dimension of `like`."""
    return channels.reshape(1, -1, *(1,) * (like.dim() - 2))
