import math

import torch

from pretrain import objectives
from pretrain.model import ModelConfig
from pretrain.objectives.multitask import ORDER, MultiTask, MultiTaskConfig
from pretrain.transforms import counts
from pretrain.transforms.window_random import window_keys

KEYS = window_keys(seed=0, epoch=0, positions=torch.arange(64))
WINDOWS = (1000 * torch.randn(64, 3, 150, generator=torch.Generator().manual_seed(0))).short()
MODEL = ModelConfig(architecture="harnet5", width=8)


def test_the_first_loss_is_that_of_a_coin() -> None:
    objective = MultiTask(MultiTaskConfig(tasks=ORDER), MODEL)
    outcome = objectives.score_batch(objective, objective.build(), WINDOWS, KEYS)
    assert abs(outcome.loss.item() - math.log(2)) < 1e-6
    assert set(outcome.metrics) == {"loss"} | {f"{kind}/{task}" for kind in ("loss", "accuracy") for task in ORDER}


def test_a_label_says_whether_its_transform_was_applied() -> None:
    for task in ORDER:
        objective = MultiTask(MultiTaskConfig(tasks=(task,), orientation=False), MODEL)
        prepared = objective.prepare(WINDOWS, KEYS)
        labels = prepared.targets["labels"]
        assert labels.sum(dim=0).count_nonzero() == 1
        changed = (prepared.inputs != counts.to_g(WINDOWS)).flatten(1).any(dim=1)
        assert torch.equal(changed, labels[:, ORDER.index(task)] == 1)
        assert 15 < changed.sum() < 49


def test_every_head_gets_a_gradient_so_that_distributed_training_waits_for_none() -> None:
    objective = MultiTask(MultiTaskConfig(tasks=("reversal",)), MODEL)
    network = objective.build()
    objectives.score_batch(objective, network, WINDOWS, KEYS).loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.get_parameter("scale_h.linear1.bias").grad.count_nonzero() == 0
    assert network.get_parameter("aot_h.linear1.bias").grad.count_nonzero() > 0


def test_tasks_that_are_left_out_between_others_stay_out() -> None:
    objective = MultiTask(MultiTaskConfig(tasks=("reversal", "time_warp"), orientation=False), MODEL)
    labels = torch.tensor([[1, 1, 1, 0]]).expand(64, -1)
    x = counts.to_g(WINDOWS)
    assert torch.equal(objective.transform(x.clone(), KEYS, labels), x.flip(-1))
