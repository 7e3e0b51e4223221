import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch

from harnet import run_folder
from harnet.errors import HarnetError
from pretrain.run import checkpoint
from tests.pretrain.runs import CONTEXT

NETWORK = {"weight": torch.arange(6.0).view(2, 3)}
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def save(run: Path, step: int, keep: int = 2, protected: tuple[int, ...] = ()) -> Path:
    return checkpoint.save(run, step, {run_folder.NETWORK: NETWORK}, OPTIMIZER, {"config": {"a": 1}}, keep, protected)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found = checkpoint.find(tmp_path)
    assert (found.step, found.metadata["config"], found.metadata["step"]) == (7, {"a": 1}, 7)
    assert torch.equal(found.network()["weight"], NETWORK["weight"])
    assert found.optimizer() == OPTIMIZER


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize("name", ["COMPLETE", "network.safetensors", "optimizer.pt", "about.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_damaged_checkpoint_does_not_count(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    {
        "gone": path.unlink,
        "cut": lambda: path.write_bytes(path.read_bytes()[:-5]),
        "flipped": lambda: path.write_bytes(content),
    }[damage]()
    assert checkpoint.find(tmp_path).step == 1


@pytest.mark.parametrize("marker", ["", "{}", "[]", "null", '{"about.json": ""}'])
def test_a_marker_that_does_not_name_every_file_does_not_count(tmp_path: Path, marker: str) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / run_folder.MARKER).write_text(marker)
    assert checkpoint.find(tmp_path).step == 1


def test_a_marker_that_names_another_file_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2)
    marker = json.loads((folder / run_folder.MARKER).read_text())
    (folder / run_folder.MARKER).write_text(json.dumps(marker | {"../../log.jsonl": ""}))
    assert checkpoint.find(tmp_path).step == 1


def test_a_rank_finds_the_checkpoint_that_it_is_told_of(tmp_path: Path) -> None:
    folder = save(tmp_path, 2)
    found = checkpoint.at_step(tmp_path, 2)
    assert found == checkpoint.find(tmp_path)
    assert checkpoint.at_step(tmp_path, 1) is None
    (folder / run_folder.MARKER).unlink()
    assert checkpoint.at_step(tmp_path, 2) is None


CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def save_until_killed(run: Path, deadly: int) -> None:
    """Save step 3; kill the process just before its `deadly`-th change or flush of the file system."""
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        if done == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple) -> None:
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            count()

    real = os.fsync
    os.fsync = lambda descriptor: (count(), real(descriptor))[1]
    sys.addaudithook(watch)
    save(run, 3)


def test_killed_before_any_change_to_the_disk_in_a_save_there_are_two_valid_ones_and_saving_goes_on(
    tmp_path: Path,
) -> None:
    template = tmp_path / "template"
    save(template, 1)
    save(template, 2)
    exit_codes = []
    while not exit_codes or exit_codes[-1]:
        run = tmp_path / f"killed-{len(exit_codes) + 1}"
        shutil.copytree(template, run)
        process = CONTEXT.Process(target=save_until_killed, args=(run, len(exit_codes) + 1))
        process.start()
        process.join()
        exit_codes.append(process.exitcode)
        found = checkpoint.find(run)
        assert found.step in (2, 3)
        assert torch.equal(found.network()["weight"], NETWORK["weight"])
        assert len(checkpoint._valid(run)) >= 2
        save(run, found.step + 1)
        left = sorted(path.name for path in (run / "checkpoints").iterdir())
        assert left == [f"step-{found.step + number:08d}" for number in (0, 1)]
    assert set(exit_codes[:-1]) == {-signal.SIGKILL}
    # Three files written and flushed, two renames, the marker, a removed folder of five files: no point was missed.
    assert len(exit_codes) > 20


def test_protected_steps_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step, protected=(1,))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000001", "step-00000003", "step-00000004"]


def test_other_files_of_tensors_come_back(tmp_path: Path) -> None:
    tensors = {run_folder.NETWORK: NETWORK, run_folder.AVERAGE: {"weight": torch.zeros(2)}}
    checkpoint.save(tmp_path, 1, tensors, OPTIMIZER, {}, 2)
    found = checkpoint.find(tmp_path)
    assert torch.equal((found.tensors(run_folder.AVERAGE) or {})["weight"], torch.zeros(2))
    assert found.tensors(run_folder.RANDOM) is None


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    folder = save(tmp_path, 1)
    torch.save(Evil(), folder / "optimizer.pt")
    marker = json.loads((folder / "COMPLETE").read_text())
    marker["optimizer.pt"] = checkpoint._digest(folder / "optimizer.pt")
    (folder / "COMPLETE").write_text(json.dumps(marker))
    with pytest.raises(Exception, match=r"[Ww]eights"):
        checkpoint.find(tmp_path).optimizer()
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    with pytest.raises(HarnetError, match="no complete checkpoint"):
        checkpoint.find(tmp_path)
