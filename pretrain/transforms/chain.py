"""Chains of transforms, each applied to some windows of a batch."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pretrain.transforms import mirror, orientation, permutation, reversal, scaling, time_warp

Transform = Callable[[Tensor, Tensor], Tensor]
"""(N, 3, T) windows in g and (N,) keys -> (N, 3, T)."""


def permuted(x: Tensor, keys: Tensor, allow_identity: bool = False) -> Tensor:
    """Draw and apply a permutation."""
    return permutation.permute(
        x, permutation.draw_bounds(keys, x.shape[-1]), permutation.draw_order(keys, allow_identity)
    )


def scaled(x: Tensor, keys: Tensor) -> Tensor:
    """Draw and apply a scaling."""
    return scaling.scale(x, scaling.draw_factors(keys))


def warped(x: Tensor, keys: Tensor) -> Tensor:
    """Draw and apply a time warp."""
    return time_warp.warp(x, time_warp.warped_positions(time_warp.draw_knots(keys), x.shape[-1]))


def rotated(x: Tensor, keys: Tensor) -> Tensor:
    """Draw and apply a rotation."""
    return orientation.rotate(x, orientation.rotation_matrix(*orientation.draw_rotation(keys)))


def tilted(x: Tensor, keys: Tensor, most: float) -> Tensor:
    """Draw and apply a rotation of at most `most` degrees, as if the strap sat a little differently."""
    return orientation.rotate(x, orientation.rotation_matrix(*orientation.draw_tilt(keys, most)))


def mirrored(x: Tensor, keys: Tensor) -> Tensor:
    """Draw an axis and change its sign."""
    return scaling.scale(x, mirror.draw_signs(keys))


def amplified(x: Tensor, keys: Tensor, most: float) -> Tensor:
    """Draw a factor in 1 ± `most` and multiply all axes by it, as if the device were not quite calibrated."""
    return scaling.scale(x, scaling.draw_gain(keys, most))


def reoriented(x: Tensor, keys: Tensor) -> Tensor:
    """Draw and apply an order of the axes, then a rotation: any way of wearing the device, including mirrored ones."""
    matrix = orientation.rotation_matrix(*orientation.draw_rotation(keys))
    return orientation.rotate(x, orientation.after_reordering(matrix, orientation.draw_axis_order(keys)))


LABELLED: Mapping[str, Transform] = {
    "reversal": lambda x, keys: reversal.reverse(x),
    "scaling": scaled,
    "permutation": permuted,
    "time_warp": warped,
}
"""The four transforms of Yuan et al. (2024) that can be recognised, in the order in which they are applied."""


def apply_to_some(x: Tensor, keys: Tensor, transforms: Mapping[str, Transform], applied: Sequence[Tensor]) -> Tensor:
    """Apply every transform in turn to the windows where its `applied`, (N,) bool, is True. `x` may be overwritten.

    On the CPU only these windows are transformed: half of the work. On a GPU, selecting them would mean a
    synchronisation at every step, so all windows are transformed. The result is the same.
    """
    apply = to_chosen if x.device.type == "cpu" else to_all
    for transform, chosen in zip(transforms.values(), applied, strict=True):
        x = apply(x, keys, transform, chosen)
    return x


def to_chosen(x: Tensor, keys: Tensor, transform: Transform, chosen: Tensor) -> Tensor:
    """Transform the chosen windows in place; shapes depend on their number."""
    rows = chosen.nonzero()[:, 0]
    return x.index_copy_(0, rows, transform(x.index_select(0, rows), keys.index_select(0, rows)))


def to_all(x: Tensor, keys: Tensor, transform: Transform, chosen: Tensor) -> Tensor:
    """Transform all windows, and use the result for the chosen ones only."""
    return torch.where(chosen[:, None, None], transform(x, keys), x)
