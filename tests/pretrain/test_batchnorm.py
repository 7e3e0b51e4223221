import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from pretrain.parallel.batchnorm import CpuSyncBatchNorm, synchronise
from pretrain.parallel.distributed import Process
from tests.pretrain.runs import in_processes

SIZES = (5, 3, 4, 1)
"""Windows per process, uneven on purpose."""


def network() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv1d(3, 6, 5), nn.BatchNorm1d(6), nn.Flatten(), nn.Linear(6 * 16, 4), nn.BatchNorm1d(4))
    # With a large mean a careless variance loses precision.
    nn.init.constant_(made[0].bias, 50.0)
    return made


def batch(rows: slice) -> torch.Tensor:
    return torch.randn(sum(SIZES), 3, 20, generator=torch.Generator().manual_seed(1))[rows]


def compare(process: Process, folder: Path) -> None:
    """Two steps of forward and backward, compared with one process that has all windows."""
    first = sum(SIZES[: process.rank])
    mine = slice(first, first + SIZES[process.rank])
    everything = slice(0, sum(SIZES[: process.world]))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-4)):
        whole = network().to(dtype)
        shared = synchronise(copy.deepcopy(whole), process)
        assert [type(shared[place]) for place in (1, 4)] == [CpuSyncBatchNorm] * 2
        for _ in range(2):
            x_whole = batch(everything).to(dtype).requires_grad_()
            x_mine = batch(mine).to(dtype).requires_grad_()
            weights = torch.arange(4, dtype=dtype).cos()
            expected, found = whole(x_whole), shared(x_mine)
            (expected * weights).square().sum().backward()
            (found * weights).square().sum().backward()
            torch.testing.assert_close(found, expected[mine], rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(x_mine.grad, x_whole.grad[mine], rtol=tolerance, atol=tolerance)
        for ours, theirs in zip(shared.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(process.sum(ours.grad), theirs.grad, rtol=tolerance, atol=10 * tolerance)
        for (name, ours), theirs in zip(shared.named_buffers(), whole.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, msg=name)
        shared.eval()
        whole.eval()
        torch.testing.assert_close(shared(batch(mine).to(dtype)), whole(batch(mine).to(dtype)), rtol=1e-4, atol=1e-4)
    (folder / str(process.rank)).touch()


@pytest.mark.parametrize("world", [2, 4])
def test_statistics_and_gradients_are_those_of_the_whole_batch(tmp_path: Path, world: int) -> None:
    in_processes(world, compare, tmp_path)
    assert len(list(tmp_path.iterdir())) == world


def test_one_process_keeps_the_plain_one() -> None:
    made = synchronise(network(), Process(0, 1, torch.device("cpu")))
    assert type(made[1]) is nn.BatchNorm1d


def test_names_in_the_state_dict_stay() -> None:
    before = network()
    names = list(before.state_dict())
    assert list(synchronise(before, Process(0, 2, torch.device("cpu"))).state_dict()) == names
