import math

import torch

from pretrain.config import ModelConfig, MultiTaskConfig
from pretrain.objectives.multitask import ORDER, MultiTask
from pretrain.transforms.draws import window_keys

KEYS = window_keys(seed=0, epoch=0, positions=torch.arange(64))
WINDOWS = torch.randn(64, 3, 150, generator=torch.Generator().manual_seed(0))
MODEL = ModelConfig(architecture="harnet5")


def test_the_first_loss_is_that_of_a_coin() -> None:
    objective = MultiTask(MultiTaskConfig(tasks=ORDER), MODEL)
    outcome = objective(objective.build(), WINDOWS, KEYS)
    assert outcome.loss.item() == math.log(2) or abs(outcome.loss.item() - math.log(2)) < 1e-6
    assert set(outcome.metrics) == {"loss"} | {f"{kind}/{task}" for kind in ("loss", "accuracy") for task in ORDER}


def test_a_label_says_whether_its_transform_was_applied() -> None:
    for task in ORDER:
        objective = MultiTask(MultiTaskConfig(tasks=(task,), orientation=False), MODEL)
        labels = objective.draw_labels(KEYS)
        assert labels.sum(dim=0).count_nonzero() == 1
        changed = (objective.transform(WINDOWS, KEYS, labels) != WINDOWS).flatten(1).any(dim=1)
        assert torch.equal(changed, labels[:, ORDER.index(task)] == 1)
        assert 15 < changed.sum() < 49


def test_every_head_gets_a_gradient_so_that_distributed_training_waits_for_none() -> None:
    objective = MultiTask(MultiTaskConfig(tasks=("reversal",)), MODEL)
    network = objective.build()
    objective(network, WINDOWS, KEYS).loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.get_submodule("scale_h").linear1.bias.grad.count_nonzero() == 0
    assert network.get_submodule("aot_h").linear1.bias.grad.count_nonzero() > 0


def test_a_window_is_transformed_alike_in_any_batch() -> None:
    objective = MultiTask(MultiTaskConfig(tasks=ORDER), MODEL)
    whole = objective.transform(WINDOWS, KEYS, objective.draw_labels(KEYS))
    some = torch.tensor([40, 2, 9])
    part = objective.transform(WINDOWS[some], KEYS[some], objective.draw_labels(KEYS[some]))
    assert torch.equal(part, whole[some])
