from itertools import pairwise

import pytest

from harnet.errors import HarnetError
from pretrain.optim.optimizers import OptimizerConfig
from pretrain.optim.schedules import Horizon, describe, learning_rate


def rates(schedule: str, batch: int = 512, warmup: int = 0, steps: int = 80) -> list[float]:
    recipe = OptimizerConfig(learning_rate=1e-4, schedule=schedule, warmup_steps=warmup)
    return [learning_rate(step, recipe, Horizon(steps, 10, warmup, batch)) for step in range(steps)]


def test_the_published_schedule_multiplies_for_five_epochs_and_then_stays() -> None:
    found = rates("published", batch=6144)
    factor = 12 ** (1 / 5)
    for epoch in range(8):
        assert found[10 * epoch : 10 * epoch + 10] == pytest.approx([1e-4 * factor ** min(epoch, 5)] * 10, rel=1e-12)
    assert found[-1] == pytest.approx(12e-4)


def test_the_published_batch_needs_no_scaling() -> None:
    assert set(rates("published", batch=512)) == {1e-4}


def test_warm_up_then_a_cosine_to_zero() -> None:
    found = rates("cosine", warmup=8)
    assert found[:8] == pytest.approx([1e-4 * (step + 1) / 8 for step in range(8)])
    assert found[8 + 36] == pytest.approx(0.5e-4)
    assert 0 < found[-1] < 1e-7
    assert all(later < earlier for earlier, later in pairwise(found[8:]))


def test_warm_up_then_constant() -> None:
    assert rates("constant", warmup=4)[:5] == pytest.approx([0.25e-4, 0.5e-4, 0.75e-4, 1e-4, 1e-4])
    assert set(rates("constant")) == {1e-4}


def test_with_a_reference_batch_the_rate_follows_the_root_of_the_batch() -> None:
    recipe = OptimizerConfig(learning_rate=1e-4, reference_batch=512, schedule="constant", warmup_steps=0)
    for batch, expected in ((512, 1e-4), (2048, 2e-4), (128, 0.5e-4)):
        horizon = Horizon(80, 10, 0, batch)
        assert learning_rate(9, recipe, horizon) == pytest.approx(expected)
    assert "learning rate 5e-05 after" in describe(recipe, horizon)
    assert "0.0001 x sqrt(128 / 512)" in describe(recipe, horizon)
    with pytest.raises(HarnetError, match=r"optimizer.reference_batch cannot be used with the schedule published"):
        OptimizerConfig(reference_batch=512, schedule="published")


@pytest.mark.parametrize(
    ("schedule", "said"), [("published", "= 8 to 0.0008"), ("cosine", "not scaled with the batch of 4096")]
)
def test_what_is_done_about_the_batch_is_said(schedule: str, said: str) -> None:
    recipe = OptimizerConfig(learning_rate=1e-4, schedule=schedule)
    assert said in describe(recipe, Horizon(1000, 10, 100, 4096))
