"""The message and the file about a loss that is not finite."""

import math
from pathlib import Path

import pytest
import torch

from pretrain.parallel.distributed import Process
from pretrain.run.not_finite import not_finite_report


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, "from b0 (all in "), (3, "from b0, b1, b2 (all in "), (5, "from b0, b1, b2 and 2 more (all in ")],
)
def test_some_blocks_are_named_and_all_are_listed(tmp_path: Path, count: int, shown: str) -> None:
    blocks = [f"b{number}" for number in range(count)]
    message = not_finite_report(tmp_path, Process(0, 1, torch.device("cpu")), blocks, 7, math.inf, 2.0)
    assert message.startswith("step 7: loss inf or gradient norm 2.0 is not finite; its windows were planned ")
    assert shown in message
    assert (tmp_path / "not-finite-step-00000007-process-0.txt").read_text().splitlines() == blocks


@pytest.mark.parametrize(("world", "loss", "other"), [(2, 1.0, True), (2, math.nan, False), (1, 1.0, False)])
def test_a_rank_with_a_finite_loss_points_to_the_others(tmp_path: Path, world: int, loss: float, other: bool) -> None:
    process = Process(world - 1, world, torch.device("cpu"))
    message = not_finite_report(tmp_path, process, ["b"], 7, loss, math.nan)
    assert ("see first the message of a rank whose loss is not finite" in message) == other
