import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from harnet.encoder import ARCHITECTURES, STILLNESS_FLOOR_G, Encoder, ResidualBlock, lowpass_kernel, standardise_window
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS, ClassifierModel, PretextModel

PARAMETERS = {"harnet5": 4_227_904, "harnet10": 10_457_408, "harnet30": 10_457_408}


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_output_shape_and_size(name: str) -> None:
    encoder, row = Encoder(name).eval(), ARCHITECTURES[name]
    assert encoder(torch.zeros(2, 3, row.length)).shape == (2, row.features, 1)
    assert sum(p.numel() for p in encoder.parameters()) == PARAMETERS[name]
    assert len(encoder.state_dict()) == 131


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("width", [8, 96])
def test_another_width_keeps_the_shape_of_the_network(name: str, width: int) -> None:
    with torch.device("meta"):
        published, other = PretextModel(name), PretextModel(name, width=width)
    assert other.feature_extractor.architecture.features == ARCHITECTURES[name].features * width // 64
    for key, tensor in published.feature_extractor.state_dict().items():
        changed = other.feature_extractor.state_dict()[key]
        # Axes and kernel taps stay; every number of channels is multiplied.
        expected = [
            size if size in (1, 3, 5) or place == 2 else size * width // 64 for place, size in enumerate(tensor.shape)
        ]
        assert list(changed.shape) == expected, key
    narrow = Encoder(name, standardise=True, width=8).eval()
    assert narrow(torch.zeros(2, 3, ARCHITECTURES[name].length)).shape == (2, narrow.architecture.features, 1)


@pytest.mark.parametrize("width", [0, -8, 12])
def test_a_width_that_is_no_multiple_of_eight_is_refused(width: int) -> None:
    with pytest.raises(HarnetError, match=f"width is {width}; it must be a multiple of 8, 64 as published"):
        Encoder("harnet5", width=width)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_features_of_several_stages_are_their_means_over_time(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(name, width=8).eval()
    length = encoder.architecture.length
    x = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    hooks = [stage.register_forward_hook(lambda _m, _i, output: seen.append(output)) for stage in encoder.children()]
    last = encoder(x)
    for hook in hooks:
        hook.remove()
    expected = [stage.double().reshape(2, stage.shape[1], -1).mean(dim=2).float() for stage in seen]
    for stages in ((1,), (2, 3, 4, 5), (4, 2)):
        found = encoder.features(x, stages)
        torch.testing.assert_close(found, torch.cat([expected[number - 1] for number in sorted(stages)], dim=1))
        assert found.shape[1] == encoder.architecture.features_of(stages)
    assert torch.equal(encoder.features(x, (5,)), last.flatten(1))
    assert torch.equal(encoder.features(x)[:, -encoder.architecture.features :], last.flatten(1))


@pytest.mark.parametrize("stages", [(), (0,), (6,), (5, 5)])
def test_stages_that_do_not_exist_are_refused(stages: tuple[int, ...]) -> None:
    with pytest.raises(HarnetError, match=r"stages .*: must be distinct numbers from 1 to 5"):
        Encoder("harnet5", width=8).features(torch.zeros(1, 3, 150), stages)


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(HarnetError, match="'harnet15': no such architecture; one of: harnet5, harnet10, harnet30"):
        Encoder("harnet15")


@pytest.mark.parametrize(
    ("x", "advice"),
    [
        (torch.zeros(2, 3, 300, dtype=torch.int16), "convert to float32"),
        (torch.zeros(2, 300, 3), "swap the last two dimensions"),
        (torch.zeros(3, 300), "add a batch dimension"),
        (torch.zeros(2, 3, 900), "fits harnet30"),
        (torch.zeros(2, 3, 1000), "resample at 30 Hz"),
    ],
)
def test_wrong_input_is_refused_with_advice(x: torch.Tensor, advice: str) -> None:
    with pytest.raises(HarnetError, match=advice) as caught:
        Encoder("harnet10")(x)
    assert f"found {tuple(x.shape)} {x.dtype}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_residual_blocks_start_as_the_identity() -> None:
    block = next(m for m in Encoder("harnet5").modules() if isinstance(m, ResidualBlock))
    x = torch.randn(2, 64, 1, 150, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("initialisation", "fan"), [("published", 64 * 5), ("residual_zero", 3 * 5)])
def test_initialisation_is_kaiming_with_the_stated_fan(initialisation: str, fan: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = Encoder("harnet5", initialisation=initialisation).state_dict()["layer1.0.weight"]  # type: ignore[arg-type]
    # 960 draws: the standard deviation is known to within about 2.3 %.
    assert first.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.1)


@given(factor=st.integers(1, 6), order=st.integers(0, 3))
def test_lowpass_kernel_is_a_symmetric_average(factor: int, order: int) -> None:
    kernel = lowpass_kernel(factor, order)
    assert len(kernel) == order * (factor - 1) + factor
    np.testing.assert_array_equal(kernel, kernel[::-1])
    assert kernel.sum() == pytest.approx(1, abs=1e-6)


signals = st.tuples(st.integers(0, 2**32 - 1), st.floats(0.05, 4.0)).map(
    lambda drawn: drawn[1] * np.random.default_rng(drawn[0]).standard_normal((2, 3, 150))
)


@given(x=signals, offset=st.tuples(*[st.floats(-8, 8)] * 3), strength=st.floats(0.5, 20))
@settings(deadline=None)
def test_standardised_windows_ignore_gravity_and_strength(
    x: np.ndarray, offset: tuple[float, float, float], strength: float
) -> None:
    plain = standardise_window(torch.from_numpy(x))
    moved = standardise_window(torch.from_numpy(strength * x + np.array(offset)[:, None]))
    torch.testing.assert_close(moved, plain, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(plain.square().mean(dim=(1, 2)), torch.ones(2, dtype=torch.float64))


@given(x=signals, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_standardising_a_turned_device_turns_the_result(x: np.ndarray, seed: int) -> None:
    matrix = torch.from_numpy(Rotation.random(rng=np.random.default_rng(seed)).as_matrix())
    signal = torch.from_numpy(x)
    torch.testing.assert_close(standardise_window(matrix @ signal), matrix @ standardise_window(signal))


def test_a_still_window_is_not_blown_up() -> None:
    noise = 0.001 * torch.randn(4, 3, 300, generator=torch.Generator().manual_seed(0))
    assert standardise_window(noise).std().item() == pytest.approx(0.001 / STILLNESS_FLOOR_G, rel=0.05)
    assert torch.isfinite(standardise_window(torch.ones(1, 3, 300))).all()


def test_the_encoder_standardises_only_if_asked() -> None:
    plain, standardising = Encoder("harnet5").eval(), Encoder("harnet5", standardise=True).eval()
    standardising.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    assert torch.equal(standardising(x), plain(standardise_window(x)))
    assert not torch.allclose(standardising(x), plain(x))


def test_features_come_in_the_dtype_of_the_weights() -> None:
    encoder = Encoder("harnet5", standardise=True).eval()
    assert encoder(torch.zeros(1, 3, 150, dtype=torch.float64)).dtype == torch.float32
    assert encoder.bfloat16()(torch.zeros(1, 3, 150)).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(Encoder("harnet5")(torch.zeros(2, 3, 150))).all()


@pytest.mark.parametrize("training", [False, True])
def test_channels_last_stays_through_all_stages_and_changes_no_numbers(training: bool) -> None:
    """As on a GPU, including the gradient: each window is an image with one row."""
    encoder = Encoder("harnet5", standardise=True, initialisation="published", width=16).double().train(training)
    x = torch.randn(4, 3, 150, generator=torch.Generator().manual_seed(0))
    found = {}
    for order in (torch.contiguous_format, torch.channels_last):
        encoder.zero_grad()
        shapes = []
        hooks = [
            stage.register_forward_hook(lambda _, __, out, seen=shapes: seen.append((tuple(out.shape), out.stride())))
            for stage in encoder.children()
        ]
        rows = standardise_window(x.double()).unsqueeze(2).contiguous(memory_format=order)
        for stage in encoder.children():
            rows = stage(rows)
        rows.square().sum().backward()
        found[order] = [rows, *(parameter.grad for parameter in encoder.parameters())]
        for hook in hooks:
            hook.remove()
        if order is torch.channels_last:
            assert all(stride[1] == 1 for (_, channels, *_), stride in shapes if channels > 1)
    torch.testing.assert_close(*found.values(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("training", "order"), [(True, torch.contiguous_format), (False, torch.channels_last)])
def test_order_in_memory_on_the_cpu(training: bool, order: torch.memory_format) -> None:
    encoder, seen = Encoder("harnet5", width=8).train(training), []
    encoder.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.zeros(2, 3, 150))
    assert seen[0].shape == (2, 3, 1, 150)
    assert seen[0].is_contiguous(memory_format=order)


def test_forward_is_one_graph() -> None:
    model = PretextModel("harnet5", standardise=True).eval()
    traced = torch.export.export(model, (torch.randn(2, 3, 150),))
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(traced.module()(x), model(x))


def test_pretext_logits_are_in_the_order_of_the_heads() -> None:
    model = PretextModel("harnet5", zero_heads=True).eval()
    for number, head in enumerate(PRETEXT_HEADS.values()):
        torch.nn.init.constant_(model.get_parameter(f"{head}.linear1.bias"), number)
    logits = model(torch.zeros(3, 3, 150))
    assert logits.shape == (3, 4, 2)
    assert logits[0].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_classifier_shape() -> None:
    assert ClassifierModel("harnet5", 7).eval()(torch.zeros(2, 3, 150)).shape == (2, 7)
