import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from data_shards.layout import MISSING
from pretrain.transforms import chain, counts, orientation, permutation, reversal, scaling, texture, time_warp
from pretrain.transforms.window_random import chances, child_keys, integers, normal, uniform, window_keys

KEYS = window_keys(seed=3, epoch=1, positions=torch.arange(4000))


def windows(count: int = 5, length: int = 300) -> Tensor:
    random = np.random.default_rng(8)
    return torch.from_numpy(random.normal(size=(count, 3, length)))


def test_published_vectors_are_reproduced(shared: Callable[[str], Path]) -> None:
    with np.load(shared("reference/transforms.npz"), allow_pickle=False) as file:
        given = {name: torch.from_numpy(file[name]) for name in file.files}
    x = given["x"]
    bounds, order = given["permutation_bounds"].long(), given["permutation_order"].long()
    positions = time_warp.warped_positions(given["time_warp_knots"], x.shape[-1])
    matrix = orientation.rotation_matrix(given["rotation_axis"], given["rotation_angle"])
    ours = {
        "time_reversal": reversal.reverse(x),
        "permutation": permutation.permute(x, bounds, order),
        "time_warp_positions": positions,
        "time_warp": time_warp.warp(x, positions),
        "scale": scaling.scale(x, given["scale_factors"]),
        "rotation": orientation.rotate(x, matrix),
    }
    for name, value in ours.items():
        torch.testing.assert_close(
            value, given[name], rtol=0, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_permutation_is_the_segments_in_order() -> None:
    x = windows(2)
    bounds = torch.tensor([[0, 11, 100, 280, 300], [0, 80, 95, 110, 300]])
    order = torch.tensor([[2, 0, 3, 1], [3, 2, 1, 0]])
    for window, ours in enumerate(permutation.permute(x, bounds, order)):
        cuts = list(pairwise(bounds[window].tolist()))
        expected = torch.cat([x[window, :, slice(*cuts[place])] for place in order[window].tolist()], dim=-1)
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("length", [150, 300, 900])
def test_segments_are_long_enough_and_the_order_is_never_the_identity(length: int) -> None:
    lengths = permutation.draw_bounds(KEYS, length).diff(dim=1)
    assert lengths.min() == 11
    assert (lengths.sum(dim=1) == length).all()
    # Exchangeable: each segment is on average a quarter of the window, within four standard errors.
    assert (lengths.double().mean(dim=0) - length / 4).abs().max() < 4 * length * 0.2 / len(KEYS) ** 0.5
    orders = permutation.draw_order(KEYS, allow_identity=False)
    assert not (orders == torch.arange(4)).all(dim=1).any()
    assert len(orders.unique(dim=0)) == 23
    assert len(permutation.draw_order(KEYS, allow_identity=True).unique(dim=0)) == 24


def test_time_warp_is_spline_and_linear_interpolation_axis_by_axis() -> None:
    x, knots = windows(3), time_warp.draw_knots(KEYS[:3])
    positions = time_warp.warped_positions(knots, 300)
    ours = time_warp.warp(x, positions)
    for window in range(3):
        for axis in range(3):
            speed = CubicSpline(np.linspace(0, 299, 6), knots[window, :, axis].numpy())(np.arange(300))
            expected = np.cumsum(speed) * 299 / np.sum(speed)
            np.testing.assert_allclose(positions[window, axis], expected, atol=1e-9)
            value = np.interp(np.arange(300), expected, x[window, axis].numpy())
            np.testing.assert_allclose(ours[window, axis], value, atol=1e-9)


def test_time_never_runs_backwards() -> None:
    knots = torch.tensor([1.0, -3.0, 4.0, -3.0, 1.0, 1.0], dtype=torch.float64).view(1, 6, 1).expand(1, 6, 3)
    assert (time_warp.warped_positions(knots, 300).diff(dim=-1) > 0).all()


def test_scaling_factors_are_visibly_not_one() -> None:
    distance = (scaling.draw_factors(KEYS) - 1).abs()
    assert distance.min() >= 0.15
    assert distance.max() <= 0.5
    assert (scaling.draw_factors(KEYS) > 1).double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_rotation_keeps_lengths_and_handedness() -> None:
    matrix = orientation.rotation_matrix(*orientation.draw_rotation(KEYS[:50]))
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(matrix @ matrix.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(50, dtype=torch.float64))


def test_all_orders_of_the_axes_occur() -> None:
    orders = orientation.draw_axis_order(KEYS)
    assert len(orders.unique(dim=0)) == 6


def test_an_order_of_the_axes_and_a_rotation_are_one_matrix() -> None:
    x, matrix = windows(1), orientation.rotation_matrix(*orientation.draw_rotation(KEYS[:1]))
    both = orientation.after_reordering(matrix, torch.tensor([[2, 0, 1]]))
    torch.testing.assert_close(orientation.rotate(x, both), orientation.rotate(x[:, [2, 0, 1]], matrix))


def test_draws_are_uniform_normal_and_independent() -> None:
    u, n = uniform(KEYS, "a", 4), normal(KEYS, "b", 4)
    assert u.min() >= 0
    assert u.max() < 1
    torch.testing.assert_close(u.mean(dim=0), torch.full((4,), 0.5, dtype=torch.float64), atol=0.02, rtol=0)
    torch.testing.assert_close(u.var(dim=0) * 12, torch.ones(4, dtype=torch.float64), atol=0.05, rtol=0)
    torch.testing.assert_close(n.var(dim=0), torch.ones(4, dtype=torch.float64), atol=0.1, rtol=0)
    everything = torch.cat([u, n, uniform(KEYS, "c", 2)], dim=1).T
    assert (torch.corrcoef(everything) - torch.eye(10)).abs().max() < 0.07
    assert integers(KEYS, "d", 3).unique().tolist() == [0, 1, 2]


def test_draws_belong_to_seed_epoch_and_position_alone() -> None:
    positions = torch.tensor([900, 3, 77])
    assert torch.equal(window_keys(3, 1, positions), KEYS[:901][positions])
    keys = [window_keys(seed, epoch, torch.arange(1000)) for seed in range(4) for epoch in range(4)]
    assert len(torch.cat(keys).unique()) == 16_000


def test_draws_are_the_same_on_every_machine_and_for_ever() -> None:
    numbers = uniform(window_keys(0, 0, torch.arange(1000)), "anything", 8).numpy()
    assert (
        hashlib.sha256(numbers.astype("<f8").tobytes()).hexdigest()
        == "f019c5fced3d584cb870adf036fde97dca33628b265af4d8fc578860348a9af4"
    )


def test_the_low_pass_keeps_movement_and_gravity_and_removes_the_top_of_the_band() -> None:
    time = torch.arange(300, dtype=torch.float64) / 30
    x = torch.stack([torch.sin(2 * torch.pi * hz * time) for hz in (2.0, 14.5)] + [torch.ones(300)])[None]
    ours = texture.low_pass(x.double(), 10.0)[0, :, 30:-30]
    torch.testing.assert_close(ours[0], x[0, 0, 30:-30], atol=0.01, rtol=0)
    assert ours[1].abs().max() < 0.01
    torch.testing.assert_close(ours[2], torch.ones(240, dtype=torch.float64))


def test_texture_hides_the_trace_of_linear_interpolation() -> None:
    keys = KEYS[:400]
    band = np.fft.rfft(np.random.default_rng(0).normal(size=(400, 3, 300)))
    band[..., np.fft.rfftfreq(300, 1 / 30) > 12] = 0
    x = torch.from_numpy(np.fft.irfft(band, 300)) * 0.05
    warped = time_warp.warp(x, time_warp.warped_positions(time_warp.draw_knots(keys), 300))

    def best_threshold(one: Tensor, other: Tensor) -> float:
        """Accuracy of telling the two apart by the share of power above 14.5 Hz."""
        shares = []
        for windows in (one, other):
            power = torch.fft.rfft(windows * torch.hann_window(300)).abs().square().sum(dim=1)
            shares.append(power[:, 145:].sum(dim=1) / power.sum(dim=1))
        cuts = torch.cat(shares)
        return max(float(((shares[0] <= cut).double().mean() + (shares[1] > cut).double().mean()) / 2) for cut in cuts)

    def hidden(windows: Tensor, keys: Tensor) -> Tensor:
        return texture.add_noise(texture.low_pass(windows, 10.0), texture.draw_noise(keys, 300), 0.005)

    assert best_threshold(x, warped) > 0.99
    assert best_threshold(hidden(x, keys), hidden(warped, KEYS[400:800])) < 0.7


@pytest.mark.parametrize("name", sorted(chain.LABELLED))
def test_transforming_the_chosen_windows_alone_gives_the_same_bits_as_transforming_all(name: str) -> None:
    x, keys, transform = windows(64).float(), KEYS[:64], chain.LABELLED[name]
    for chosen in (keys & 1 == 1, keys != keys, keys == keys):
        expected = chain.to_all(x, keys, transform, chosen)
        assert torch.equal(chain.to_chosen(x.clone(), keys, transform, chosen), expected)
        assert torch.equal(expected[~chosen], x[~chosen])


def test_counts_become_g_and_what_is_missing_is_known() -> None:
    stored = torch.tensor([[[4096, MISSING], [-32767, MISSING], [1, MISSING]]], dtype=torch.int16)
    assert counts.to_g(stored)[0, :, 0].tolist() == [1.0, -32767 / 4096, 1 / 4096]
    assert counts.is_recorded(stored).tolist() == [[True, False]]


def test_keys_of_a_second_view_are_unrelated_to_the_first() -> None:
    first, second = child_keys(KEYS, "first view"), child_keys(KEYS, "second view")
    assert len(torch.cat([KEYS, first, second]).unique()) == 3 * len(KEYS)
    numbers = torch.cat([uniform(keys, "a", 2) for keys in (KEYS, first, second)], dim=1).T
    assert (torch.corrcoef(numbers) - torch.eye(6)).abs().max() < 0.07
    assert chances(KEYS, "a", 0.2, 3).double().mean().item() == pytest.approx(0.2, abs=0.02)


def test_a_tilt_is_a_rotation_by_no_more_than_asked() -> None:
    x = windows(len(KEYS), 1)
    found = chain.tilted(x, KEYS, most=20.0)
    torch.testing.assert_close(found.norm(dim=1), x.norm(dim=1))
    angle = torch.rad2deg(torch.acos((found * x).sum(dim=1) / x.norm(dim=1).square()).clamp(-1, 1))
    assert 15 < angle.max() <= 20.001
    _, turned = orientation.draw_tilt(KEYS, 20.0)
    assert turned.abs().max() <= np.deg2rad(20)
    assert turned.std().item() == pytest.approx(np.deg2rad(20) / 3**0.5, rel=0.05)


def test_a_mirror_changes_the_sign_of_one_axis() -> None:
    x = torch.ones(len(KEYS), 3, 4, dtype=torch.float64)
    flipped = (chain.mirrored(x, KEYS) == -1).all(dim=2)
    assert (flipped.sum(dim=1) == 1).all()
    assert flipped.double().mean(dim=0).sub(1 / 3).abs().max() < 4 * (2 / 9 / len(KEYS)) ** 0.5


def test_a_gain_is_one_factor_for_all_axes() -> None:
    x = torch.ones(len(KEYS), 3, 4, dtype=torch.float64)
    factors = chain.amplified(x, KEYS, most=0.1)
    assert (factors == factors[:, :1, :1]).all()
    assert 0.9 <= factors.min() < 0.901
    assert 1.099 < factors.max() <= 1.1
