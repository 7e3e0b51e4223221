import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.layout import MISSING
from harnet.encoder import standardise_window
from pretrain.model import ModelConfig
from pretrain.objectives.masked import Masked, MaskedConfig, standardised
from pretrain.transforms import counts
from pretrain.transforms.window_random import window_keys

KEYS = window_keys(seed=0, epoch=0, positions=torch.arange(64))
WINDOWS = (1000 * torch.randn(64, 3, 150, generator=torch.Generator().manual_seed(0))).short()
MODEL = ModelConfig(architecture="harnet5", width=8)


def masked(**options: float | bool) -> Masked:
    return Masked(MaskedConfig(**options), MODEL)  # type: ignore[arg-type]


@given(share=st.floats(0.01, 0.99), patch=st.floats(1 / 30, 2.5), length=st.sampled_from([150, 300, 900]))
@settings(deadline=None, max_examples=30)
def test_every_window_hides_whole_patches_and_the_same_number_of_them(share: float, patch: float, length: int) -> None:
    hidden = masked(share=share, patch_seconds=patch).draw_mask(KEYS, length)
    samples = round(patch * 30)
    full = length // samples * samples
    patches = hidden[:, :full].view(64, -1, samples)
    assert (patches.all(dim=2) == patches.any(dim=2)).all()
    counted = hidden[:, ::samples].sum(dim=1)
    assert (counted == counted[0]).all()
    number = -(-length // samples)
    assert counted[0] == min(max(round(share * number), 1), number - 1)


def test_all_patches_are_hidden_equally_often() -> None:
    keys = window_keys(0, 0, torch.arange(4000))
    often = masked().draw_mask(keys, 300)[:, ::15].double().mean(dim=0)
    assert (often - 0.5).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_hidden_samples_do_not_reach_the_network() -> None:
    objective = masked(orientation=False)
    hidden = objective.draw_mask(KEYS, 150)
    other = torch.where(hidden[:, None], WINDOWS.flip(0), WINDOWS)
    one, two = objective.prepare(WINDOWS, KEYS), objective.prepare(other, KEYS)
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.targets["signal"], two.targets["signal"])
    assert torch.equal(one.targets["scored"].bool(), hidden)
    seen = ~hidden[:, None].expand_as(one.inputs)
    assert torch.equal(one.inputs[seen], counts.to_g(WINDOWS)[seen])


def test_samples_that_were_not_recorded_are_never_scored_and_change_nothing() -> None:
    gap = torch.zeros(64, 1, 150, dtype=torch.bool)
    gap[:32, :, 40:77] = True
    windows = WINDOWS.masked_fill(gap, MISSING)
    objective = masked()
    prepared = objective.prepare(windows, KEYS)
    assert prepared.targets["scored"][gap[:, 0]].count_nonzero() == 0
    # The loss does not depend on the network's output there, or on the hidden values.
    outputs = torch.randn(64, 3, 150, generator=torch.Generator().manual_seed(1))
    loss = objective.score(outputs, prepared.targets).loss
    assert torch.equal(objective.score(outputs.masked_fill(gap, 99.0), prepared.targets).loss, loss)
    whole = objective.prepare(WINDOWS, KEYS)
    torch.testing.assert_close(prepared.inputs[32:], whole.inputs[32:])
    assert prepared.inputs.abs().max() < 8


def test_a_window_without_a_sample_gives_no_loss_and_no_nan() -> None:
    objective = masked()
    windows = WINDOWS.clone()
    windows[:16] = MISSING
    prepared = objective.prepare(windows, KEYS)
    assert torch.isfinite(prepared.inputs).all()
    outputs = torch.zeros(64, 3, 150, requires_grad=True)
    outcome = objective.score(outputs, prepared.targets)
    rest = {name: value[16:] for name, value in prepared.targets.items()}
    assert outcome.loss.item() == pytest.approx(objective.score(outputs[16:], rest).loss.item() * 48 / 64)
    outcome.loss.backward()
    assert torch.isfinite(outputs.grad).all()  # type: ignore[arg-type]


def test_the_signal_to_find_is_what_the_encoder_would_make_of_a_whole_window() -> None:
    x = counts.to_g(WINDOWS)
    torch.testing.assert_close(standardised(x, torch.ones(64, 150, dtype=torch.bool)), standardise_window(x))


def test_the_first_loss_is_that_of_predicting_the_mean() -> None:
    objective = masked()
    prepared = objective.prepare(WINDOWS, KEYS)
    metrics = objective.score(objective.build()(prepared.inputs), prepared.targets).metrics
    assert metrics["loss"] == metrics["loss/predicting_the_mean"]
    assert 0.8 < metrics["loss"] < 1.2


def test_the_mean_over_processes_is_the_loss_of_the_batch() -> None:
    objective = masked()
    windows = WINDOWS.clone()
    windows[:20, :, 70:] = MISSING
    outputs = torch.randn(64, 3, 150, generator=torch.Generator().manual_seed(1))
    targets = objective.prepare(windows, KEYS).targets
    whole = objective.score(outputs, targets).loss
    parts = [
        objective.score(outputs[part], {name: value[part] for name, value in targets.items()}).loss
        for part in (slice(0, 16), slice(16, 32), slice(32, 48), slice(48, 64))
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
