from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from data_shards.shards import manifest
from data_shards.stream.plan import steps_per_epoch
from harnet import run_folder
from harnet.errors import HarnetError
from harnet.run_folder import read_log
from pretrain.data.loading import LocalBatch, local_batches
from pretrain.parallel import flight_recorder
from pretrain.parallel.distributed import Process, process_group
from pretrain.parallel.srun_environment import torch_variables
from pretrain.run import checkpoint
from pretrain.run.step import micro_batches
from tests.pretrain.runs import alone, losses, small, together


@pytest.mark.parametrize("world", [2, 4])
def test_gloo_processes_finish_together_and_share_every_batch(shards: Path, tmp_path: Path, world: int) -> None:
    together(small(shards, tmp_path / "run"), world)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6]
    assert list(losses(tmp_path / "run", "heldout")) == [3, 6]
    alone(replace(small(shards, tmp_path / "alone")))
    # The heads start at zero, so the first loss is ln 2 for any input; what must agree is all that was drawn.
    assert losses(tmp_path / "run")[1] == pytest.approx(losses(tmp_path / "alone")[1], abs=1e-6)


def test_a_run_continues_on_another_number_of_processes(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run")
    together(config, 2)
    before = losses(tmp_path / "run")
    (checkpoint.find(tmp_path / "run").path / run_folder.MARKER).unlink()
    assert checkpoint.find(tmp_path / "run").step == 4
    alone(config)
    after = losses(tmp_path / "run")
    assert list(after) == [1, 2, 3, 4, 5, 6]
    assert [after[step] for step in (1, 2, 3, 4)] == [before[step] for step in (1, 2, 3, 4)]
    assert checkpoint.find(tmp_path / "run").metadata["world"] == 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_with_synchronised_batch_statistics_losses_do_not_depend_on_the_number_of_processes(
    shards: Path, tmp_path: Path, accumulate: int
) -> None:
    """Four steps on two processes and the rest on one, with the moving average of the weights."""
    options = {"sync_batchnorm": True, "accumulate": accumulate}
    recipe = {"ema_decay": 0.9}
    alone(small(shards, tmp_path / "alone", recipe, **options))
    config = small(shards, tmp_path / "moved", recipe, **options)
    together(config, 2)
    (checkpoint.find(tmp_path / "moved").path / run_folder.MARKER).unlink()
    alone(config)
    assert losses(tmp_path / "moved") == pytest.approx(losses(tmp_path / "alone"), abs=1e-5)
    held = [
        {row["step"]: row["ema/loss"] for row in read_log(tmp_path / name) if row["kind"] == "heldout"}
        for name in ("moved", "alone")
    ]
    assert held[0] == pytest.approx(held[1], abs=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_pieces_of_all_processes_together_are_the_same_windows(shards: Path, tmp_path: Path, count: int) -> None:
    whole = micro_batches(next(stream(shards, tmp_path, 0, 1, 0)), count)
    dealt = [micro_batches(next(stream(shards, tmp_path, rank, 2, 0)), count) for rank in range(2)]
    for number in range(count):
        positions, order = torch.cat([pieces[number].positions for pieces in dealt]).sort()
        assert torch.equal(positions, whole[number].positions)
        assert torch.equal(torch.cat([pieces[number].windows for pieces in dealt])[order], whole[number].windows)


SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NODELIST": "gpu[007-009,12]",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
}


def test_a_task_that_srun_started_knows_who_it_is() -> None:
    found = torch_variables(SLURM)
    assert (found["RANK"], found["LOCAL_RANK"], found["WORLD_SIZE"]) == ("9", "1", "16")
    assert found["MASTER_ADDR"] == "gpu007"
    other = torch_variables(SLURM | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert (other["MASTER_ADDR"], other["MASTER_PORT"]) == (found["MASTER_ADDR"], found["MASTER_PORT"])
    assert 20_000 <= int(found["MASTER_PORT"]) < 40_000


@pytest.mark.parametrize("variables", [{"RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "1"}])
def test_torchrun_and_a_shell_inside_an_allocation_go_before_slurm(variables: dict[str, str]) -> None:
    assert torch_variables(SLURM | variables) == {}


def test_outside_slurm_there_is_nothing_to_know() -> None:
    assert torch_variables({}) == {}


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("n1", "n1"),
        ("n[3-5]", "n3"),
        ("gpu[07,09]-ib,x", "gpu07-ib"),
        ("a-b-1,a-b-2", "a-b-1"),
        ("c[12]", "c12"),
        ("r[1-2]n[3-4]", "r1n3"),
    ],
)
def test_the_first_host_of_a_list_is_where_processes_meet(hosts: str, first: str) -> None:
    assert torch_variables(SLURM | {"SLURM_STEP_NODELIST": hosts})["MASTER_ADDR"] == first


@pytest.mark.parametrize(("visible", "local_rank", "number"), [(8, 3, 3), (1, 0, 0), (1, 3, 0)])
def test_a_process_takes_its_gpu_or_the_only_one_that_it_is_shown(
    monkeypatch: pytest.MonkeyPatch, visible: int, local_rank: int, number: int
) -> None:
    taken = gpus(monkeypatch, visible, local_rank)
    with process_group("cuda") as process:
        assert process.device == torch.device("cuda", number)
    assert taken == [process.device]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2, local_rank=2)
    with pytest.raises(HarnetError, match="local rank 2 has no GPU: the node has 2"), process_group("auto"):
        pass


def gpus(monkeypatch: pytest.MonkeyPatch, visible: int, local_rank: int) -> list[torch.device]:
    """As on a machine with GPUs; returns the list of devices that processes select."""
    taken: list[torch.device] = []
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    return taken


def test_what_was_asked_of_nccl_is_written_to_the_run_folder_unless_told_otherwise(tmp_path: Path) -> None:
    environment = {"TORCH_FR_BUFFER_SIZE": "7"}
    flight_recorder.enable(tmp_path / "run", environment)
    assert environment == {
        "TORCH_FR_BUFFER_SIZE": "7",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": f"{tmp_path}/run/nccl-flight-process-",
    }


@pytest.mark.parametrize(("world", "workers"), [(2, 0), (4, 0), (2, 2), (1, 2)])
def test_all_processes_together_read_the_global_batch(shards: Path, tmp_path: Path, world: int, workers: int) -> None:
    expected = list(islice(stream(shards, tmp_path, 0, 1, 0), 3))
    pieces = [list(islice(stream(shards, tmp_path, rank, world, workers), 3)) for rank in range(world)]
    for step, whole in enumerate(expected):
        positions, order = torch.cat([piece[step].positions for piece in pieces]).sort()
        assert torch.equal(positions, whole.positions)
        assert torch.equal(torch.cat([piece[step].windows for piece in pieces])[order], whole.windows)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_follow_one_another_and_can_be_entered_anywhere(shards: Path, tmp_path: Path, workers: int) -> None:
    contents, order = manifest.read(shards), small(shards, tmp_path).order()
    steps = steps_per_epoch(contents, "train", order)
    found = list(islice(stream(shards, tmp_path, 0, 1, workers, first_step=steps - 2), 4))
    assert [part.epoch for part in found] == [0, 0, 1, 1]
    assert [part.positions[0].item() // order.batch for part in found] == [steps - 2, steps - 1, 0, 1]
    entered = next(stream(shards, tmp_path, 0, 1, 0, first_step=steps + 1))
    assert torch.equal(entered.windows, found[3].windows)
    assert entered.epoch == 1
    start = next(stream(shards, tmp_path, 0, 1, 0, first_step=1))
    assert not torch.equal(start.windows, entered.windows)


def stream(shards: Path, out: Path, rank: int, world: int, workers: int, first_step: int = 2) -> Iterator[LocalBatch]:
    process = Process(rank, world, torch.device("cpu"))
    return local_batches(manifest.read(shards), "train", small(shards, out).order(), process, workers, first_step)
