"""Which tensors are stored in half precision."""

import torch

from harnet.weights.half import halved, widened

STATE = {
    "conv.weight": torch.ones(2, 3, 5),
    "linear.weight": torch.ones(2, 3),
    "norm.weight": torch.ones(2),
    "linear.bias": torch.ones(2),
    "kernel": torch.ones(1, 1, 4),
}


def test_only_weights_of_convolutions_and_linear_layers_are_halved() -> None:
    half = halved(STATE)
    assert {name for name, tensor in half.items() if tensor.dtype == torch.float16} == {"conv.weight", "linear.weight"}
    assert {tensor.dtype for tensor in widened(half).values()} == {torch.float32}


def test_nothing_else_that_is_half_is_widened() -> None:
    wrong = {name: tensor.half() for name, tensor in STATE.items()}
    found = {name for name, tensor in widened(wrong).items() if tensor.dtype == torch.float32}
    assert found == {"conv.weight", "linear.weight"}, "the others then break the contract"
