from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.backends import cudnn

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

import harnet
from harnet.apply.inference import outputs
from harnet.determinism import deterministic_convolutions
from harnet.evaluation.suite_context import SuiteContext

WANTED = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}


def flags() -> dict[str, bool]:
    return {name: getattr(cudnn, name) for name in WANTED}


def test_cudnn_stays_on_and_tf32_off_and_all_is_put_back() -> None:
    before = flags()
    with deterministic_convolutions():
        assert flags() == WANTED
    assert flags() == before


def test_evaluation_computes_with_them() -> None:
    suite: Any = SimpleNamespace(source=SimpleNamespace(threads=1))
    with SuiteContext.quiet(suite):
        assert flags() == WANTED


def test_nothing_else_sets_flags_whose_defaults_are_a_trap() -> None:
    sources = [path for path in Path(harnet.__file__).parent.rglob("*.py") if "cudnn.flags(" in path.read_text()]
    assert [path.name for path in sources] == ["determinism.py"]


class Watched(nn.Module):
    """Records the flags."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1))
        self.seen: list[dict[str, bool]] = []

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(flags())
        return windows[:, 0]


def test_embedding_computes_with_them_in_all_threads() -> None:
    before, model = flags(), Watched()
    pieces = [(np.arange(20), np.zeros((20, 3, 4), np.float32))]
    list(outputs(model, [lambda: pieces], 2, lambda found: found, threads=3))
    assert model.seen == [WANTED] * 10
    assert flags() == before
