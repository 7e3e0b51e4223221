"""Pieces from several loader processes are joined into one part, in order, without sorting."""

import pytest
import torch

from pretrain.data.loading import LocalBatch, _join


@pytest.mark.parametrize(("rank", "world", "workers"), [(0, 1, 1), (0, 1, 2), (1, 2, 3), (3, 4, 1)])
def test_lanes_of_all_workers_come_in_the_order_of_positions(rank: int, world: int, workers: int) -> None:
    per_lane, batch = 2, 48
    position = torch.arange(batch).view(-1, per_lane)
    pieces = [position[rank + world * worker :: world * workers].flatten() for worker in range(workers)]
    parts = [LocalBatch(piece[:, None, None].short().repeat(1, 3, 4), piece, 7, 5, 1) for piece in pieces]
    whole = next(_join(iter(parts), workers, per_lane, torch.device("cpu")))
    assert torch.equal(whole.positions, position[rank::world].flatten())
    assert torch.equal(whole.windows[:, 2, 3].long(), whole.positions)
    assert whole.windows.is_contiguous()
    assert (whole.epoch, whole.blocks, whole.damaged) == (7, 5 * workers, workers)
