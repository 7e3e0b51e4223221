import json
from pathlib import Path

import pytest
import torch

from harnet.errors import HarnetError
from pretrain import checkpoint

NETWORK = {"weight": torch.arange(6.0).view(2, 3)}
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def save(run: Path, step: int, keep: int = 2) -> Path:
    return checkpoint.save(run, step, NETWORK, OPTIMIZER, {"config": {"a": 1}}, keep)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found = checkpoint.find(tmp_path)
    assert (found.step, found.about["config"], found.about["step"]) == (7, {"a": 1}, 7)
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
    (save(tmp_path, 2) / checkpoint.MARKER).write_text(marker)
    assert checkpoint.find(tmp_path).step == 1


class Killed(BaseException):
    """Stands for a kill at a point inside `save`."""


POINTS = ("safetensors_bytes", "torch.save", "fsync_tree", "publish", "write_atomically", "shutil.rmtree")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_in_a_save_the_newest_valid_one_is_found_and_saving_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, after: bool
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    holder = checkpoint
    for part in point.split(".")[:-1]:
        holder = getattr(holder, part)
    name = point.split(".")[-1]
    real = getattr(holder, name)

    def kill(*arguments: object, **options: object) -> None:
        if after:
            real(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(holder, name, kill)
        with pytest.raises(Killed):
            save(tmp_path, 3)
    assert checkpoint.find(tmp_path).step in (2, 3)
    save(tmp_path, 3)
    assert checkpoint.find(tmp_path).step == 3
    assert len(list((tmp_path / "checkpoints").glob("step-????????"))) == 2


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
