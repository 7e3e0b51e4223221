"""The held-out loss: the same windows, draws and bits for every run on a manifest, and none of them is trained on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from data_shards.shards import manifest
from harnet.encoder import Encoder
from pretrain.config import PretrainConfig
from pretrain.data import heldout
from pretrain.data.heldout import HeldOut
from pretrain.parallel.distributed import Process
from pretrain.run.build import build_run
from tests.pretrain.runs import alone, in_processes, losses, small

ALONE = Process(0, 1, torch.device("cpu"))


def listed(config: PretrainConfig, world: int = 1) -> torch.Tensor:
    """(n, 3, T): the held-out list, assembled from the pieces of all processes."""
    contents = manifest.read(Path(config.data.shards))
    pieces = {}
    for rank in range(world):
        pieces |= HeldOut(config, Process(rank, world, torch.device("cpu")), contents).own
    assert sorted(pieces) == list(range(len(pieces)))
    return torch.cat([pieces[number].windows for number in range(len(pieces))])


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "PIECE", 7)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("world", [1, 2, 5])
def test_the_list_is_the_same_for_every_run_on_a_manifest(shards: Path, tmp_path: Path, world: int) -> None:
    config = small(shards, tmp_path)
    expected = listed(config)
    assert expected.shape == (15, 3, 150), "16 windows were asked for, and three pieces have five each"
    assert len(expected.unique(dim=0)) == 15
    order = {"batch": 60, "lanes": 30, "workers": 2, "windows_per_visit": 100, "draws_per_day": 9, "shuffle_windows": 5}
    other = replace(config, data=replace(config.data, **order), run=replace(config.run, seed=9))
    assert torch.equal(listed(other, world), expected)


def test_with_more_lanes_than_windows_there_is_a_loss(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", steps=3, evaluate_every=3)
    alone(replace(config, data=replace(config.data, batch=20, lanes=20, heldout_windows=3)))
    assert list(losses(tmp_path / "run", "heldout")) == [3]


def contrastive(shards: Path, out: Path, seed: int = 0) -> PretrainConfig:
    """An objective that compares windows with each other and whose loss is not ln 2 before the first step."""
    return replace(small(shards, out, seed=seed), objective="simclr")


def evaluated(process: Process, config: PretrainConfig, out: Path) -> None:
    """Write the held-out metrics of the untrained network to a file; each process has its own batch statistics."""
    heldout.PIECE = 7
    run = build_run(config, process)
    with torch.no_grad():
        for buffer in run.state.network.buffers():
            if buffer.is_floating_point():
                buffer.mul_(1.0 + process.rank)
    before = [buffer.clone() for buffer in run.state.network.buffers()]
    values = run.evaluate()
    if process.first:
        assert all(map(torch.equal, run.state.network.buffers(), before)), "statistics of held-out people were taken"
    assert run.state.network.training
    (out / f"{process.rank}-of-{process.world}.json").write_text(json.dumps(values))


def test_the_loss_is_the_same_to_the_bit_on_any_number_of_processes(shards: Path, tmp_path: Path) -> None:
    """Five processes for three pieces; the statistics are those of the first process, as it saves the checkpoint."""
    config = contrastive(shards, tmp_path / "run")
    for world in (1, 2):  # the single process is a new one as well: the number of threads decides how sums are rounded
        in_processes(world, evaluated, config, tmp_path)
    in_processes(5, evaluated, replace(config, data=replace(config.data, batch=20, lanes=5)), tmp_path)
    found = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*-of-*.json")}
    assert len(found) == 8
    assert all(values == found["0-of-1.json"] for values in found.values())
    assert found["0-of-1.json"]["loss"] > 0.1


def test_windows_and_draws_do_not_depend_on_the_seed_of_the_run(shards: Path, tmp_path: Path) -> None:
    runs = [build_run(contrastive(shards, tmp_path, seed), ALONE) for seed in (0, 1)]
    runs[1].state.network.load_state_dict(runs[0].state.network.state_dict())
    assert runs[0].evaluate() == runs[1].evaluate()


def test_the_encoder_runs_in_evaluation_mode_and_comes_back(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward = [], Encoder.forward

    def watched(self: Encoder, x: torch.Tensor) -> torch.Tensor:
        seen.append([module.training for module in self.modules()])
        return forward(self, x)

    monkeypatch.setattr(Encoder, "forward", watched)
    run = build_run(small(shards, tmp_path), ALONE)
    seen.clear()
    run.evaluate()
    assert seen
    assert not any(training for modules in seen for training in modules)
    assert run.state.network.training
