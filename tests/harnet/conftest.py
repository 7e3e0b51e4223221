"""Parameters and inputs computed by formula, so that equality tests need no stored weights."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn


def uniform(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float64 in [-1, 1), the same on every machine."""
    return 2 * np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).random(shape) - 1


def formula(key: str, shape: tuple[int, ...]) -> np.ndarray:
    u = uniform(key, shape)
    if key.endswith("running_var"):
        return 1 + 0.5 * np.abs(u)
    if len(shape) == 1:
        return 1 + 0.1 * u if key.endswith(".weight") else 0.1 * u
    return u * np.sqrt(3 / np.prod(shape[1:]))


def fill_model(model: nn.Module) -> None:
    """Set every parameter by a formula of its name; kernels and batch counts keep their initial values."""
    state = model.state_dict()
    for key, tensor in state.items():
        if not key.endswith((".kernel", "num_batches_tracked")):
            state[key] = torch.from_numpy(formula(key, tuple(tensor.shape)).astype(np.float32))
    model.load_state_dict(state)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread: for small tensors on a shared machine, threads spend more time waiting than computing."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fill() -> Callable[[nn.Module], None]:
    return fill_model


@pytest.fixture(scope="session")
def windows() -> Callable[[str, int, int], torch.Tensor]:
    """`windows(architecture, count, length)`: (count, 3, length) in g, with 1 g on the third axis."""

    def make(architecture: str, count: int, length: int) -> torch.Tensor:
        x = 0.5 * uniform(f"windows/{architecture}", (count, 3, length))
        x[:, 2] += 1
        return torch.from_numpy(x.astype(np.float32))

    return make


@pytest.fixture(scope="session")
def reference(shared: Callable[[str], Path]) -> Path:
    return shared("reference")
