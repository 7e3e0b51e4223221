from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.backends import cudnn

import harnet
from harnet.apply.inference import _launch
from harnet.evaluation.suite_context import SuiteContext
from harnet.repeatable import repeatable_convolutions

WANTED = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}


def flags() -> dict[str, bool]:
    return {name: getattr(cudnn, name) for name in WANTED}


def test_cudnn_stays_on_and_tf32_off_and_all_is_put_back() -> None:
    before = flags()
    with repeatable_convolutions():
        assert flags() == WANTED
    assert flags() == before


def test_evaluation_computes_with_them() -> None:
    suite: Any = SimpleNamespace(source=SimpleNamespace(threads=1))
    with SuiteContext.quiet(suite):
        assert flags() == WANTED


def test_nothing_else_sets_flags_whose_defaults_are_a_trap() -> None:
    sources = [path for path in Path(harnet.__file__).parent.rglob("*.py") if "cudnn.flags(" in path.read_text()]
    assert [path.name for path in sources] == ["repeatable.py"]


def test_embedding_computes_with_them() -> None:
    seen: list[dict[str, bool]] = []

    def model(windows: torch.Tensor) -> torch.Tensor:
        seen.append(flags())
        return windows

    _launch(model, torch.zeros(2, 3), torch.device("cpu"), lambda found: found, "fp32")  # type: ignore[arg-type]
    assert seen == [WANTED]
