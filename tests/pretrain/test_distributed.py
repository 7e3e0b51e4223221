from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from data_shards.shards import manifest
from pretrain import checkpoint
from pretrain.distributed import Process
from pretrain.loading import Part, parts
from tests.pretrain.runs import alone, losses, small, together


@pytest.mark.parametrize("world", [2, 4])
def test_gloo_processes_finish_together_and_share_every_batch(shards: Path, tmp_path: Path, world: int) -> None:
    together(small(shards, tmp_path / "run"), world)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6]
    assert list(losses(tmp_path / "run", "heldout")) == [3, 6]
    alone(replace(small(shards, tmp_path / "alone")))
    # The heads start at zero, so the first loss is ln 2 for anyone; what must agree is everything that was drawn.
    assert losses(tmp_path / "run")[1] == pytest.approx(losses(tmp_path / "alone")[1], abs=1e-6)


def test_a_run_continues_on_another_number_of_processes(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run")
    together(config, 2)
    before = losses(tmp_path / "run")
    (checkpoint.find(tmp_path / "run").path / checkpoint.MARKER).unlink()
    assert checkpoint.find(tmp_path / "run").step == 4
    alone(config)
    after = losses(tmp_path / "run")
    assert list(after) == [1, 2, 3, 4, 5, 6]
    assert [after[step] for step in (1, 2, 3, 4)] == [before[step] for step in (1, 2, 3, 4)]
    assert checkpoint.find(tmp_path / "run").about["world"] == 1


@pytest.mark.parametrize(("world", "workers"), [(2, 0), (4, 0), (2, 2), (1, 2)])
def test_all_processes_together_read_the_global_batch(shards: Path, tmp_path: Path, world: int, workers: int) -> None:
    expected = list(islice(stream(shards, tmp_path, 0, 1, 0), 3))
    pieces = [list(islice(stream(shards, tmp_path, rank, world, workers), 3)) for rank in range(world)]
    for step, whole in enumerate(expected):
        positions, order = torch.cat([piece[step].positions for piece in pieces]).sort()
        assert torch.equal(positions, whole.positions)
        assert torch.equal(torch.cat([piece[step].windows for piece in pieces])[order], whole.windows)


def stream(shards: Path, out: Path, rank: int, world: int, workers: int) -> Iterator[Part]:
    process = Process(rank, world, torch.device("cpu"))
    return parts(manifest.read(shards), "train", small(shards, out).order(), process, workers, first_step=2)
