import torch
from torch import nn

from pretrain.optim.ema import AverageNetwork


def network(value: float) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        made[0].weight.fill_(value)
        made[1].running_mean.fill_(10 * value)
        made[1].num_batches_tracked.fill_(int(value))
    return made


def test_weights_and_batch_statistics_follow_and_counters_are_copied() -> None:
    average = AverageNetwork(network(0.0), decay=0.9)
    expected, decays = 0.0, []
    for step in range(200):
        decays.append(min(0.9, (1 + step) / (10 + step)))
        expected = decays[-1] * expected + (1 - decays[-1]) * (step + 1)
        average.update(network(step + 1.0), step)
    state = average.network.state_dict()
    torch.testing.assert_close(state["0.weight"], torch.full((1, 2), expected))
    torch.testing.assert_close(state["1.running_mean"], torch.full((1,), 10 * expected))
    assert state["1.num_batches_tracked"].item() == 200
    # Early updates forget the start faster than the configured decay would.
    assert decays[0] == 0.1
    assert decays[-1] == 0.9


def test_the_original_is_not_touched_and_the_average_is_not_trained() -> None:
    original = network(1.0)
    average = AverageNetwork(original, decay=0.5)
    average.update(network(3.0), 0)
    assert original[0].weight.eq(1.0).all()
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert not average.network.training


def test_the_first_updates_take_more_of_the_new_weights_than_the_decay_says() -> None:
    """The old average gets shares of 1/10, 2/11 and 3/12, although the decay is 0.99; the start is almost forgotten."""
    average = AverageNetwork(network(0.0), decay=0.99)
    expected = 0.0
    for step, decay in enumerate((1 / 10, 2 / 11, 3 / 12)):
        expected = decay * expected + (1 - decay) * (step + 1.0)
        average.update(network(step + 1.0), step)
    torch.testing.assert_close(average.network.state_dict()["0.weight"], torch.full((1, 2), expected))
