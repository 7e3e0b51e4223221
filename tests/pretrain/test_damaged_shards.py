"""A run over shards with a damaged block: it continues, reports how much was skipped, and resumes bit-identically."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from data_shards.shards import manifest
from data_shards.stream.plan import plan_epoch
from harnet.errors import HarnetError, Unreachable
from harnet.run_folder import read_log
from pretrain.config import PretrainConfig
from tests.pretrain.runs import alone, digest, losses, small, stop_before


@pytest.fixture(scope="module")
def damaged(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flip a bit in the block of the first windows."""
    copy = shutil.copytree(shards, tmp_path_factory.mktemp("damaged") / "shards")
    contents = manifest.read(copy)
    row = int(plan_epoch(contents, "train", small(copy, copy).order(), 0).rows[0])
    path = copy / contents.shards[contents.columns["shard"][row]].name
    content = bytearray(path.read_bytes())
    content[contents.columns["offset"][row] + 500] ^= 1
    path.write_bytes(content)
    return copy


def lenient(shards: Path, out: Path) -> PretrainConfig:
    config = small(shards, out)
    return replace(config, data=replace(config.data, max_damaged=1.0, workers=1))


def test_blocks_that_are_skipped_are_logged(damaged: Path, shards: Path, tmp_path: Path) -> None:
    for name, folder, skipped in (("damaged", damaged, 1), ("sound", shards, 0)):
        alone(lenient(folder, tmp_path / name))
        rows = [row["skipped_blocks"] for row in read_log(tmp_path / name) if row["kind"] == "train"]
        assert rows == [skipped] * 6
    assert losses(tmp_path / "damaged") != losses(tmp_path / "sound")


def test_stopped_and_resumed_over_damage_it_is_the_straight_run(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = alone(lenient(damaged, tmp_path / "straight"))
    config = lenient(damaged, tmp_path / "run")
    with monkeypatch.context() as patch:
        stop_before(patch, 3, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            alone(config)
    assert digest(alone(config)) == digest(straight)
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")


def test_too_much_damage_stops_the_run(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"data.max_damaged = 0.001 of \d+ allows: .*\.tar: block"):
        alone(small(damaged, tmp_path / "run"))


@pytest.mark.parametrize("workers", [0, 1])
def test_shards_that_cannot_be_read_stop_the_run_in_one_line(shards: Path, tmp_path: Path, workers: int) -> None:
    """Also from a loader process; and a failed read is not counted as damage."""
    copy = shutil.copytree(shards, tmp_path / "shards")
    for path in copy.glob("train-*.tar"):
        path.rename(path.with_suffix(".away"))
    config = small(copy, tmp_path / "run")
    data = replace(config.data, workers=workers, max_damaged=1.0, retry_minutes=0.005)
    with pytest.raises(Unreachable, match=r"^\S+/train-\d+\.tar: could not be read for 0.3 s .*$") as error:
        alone(replace(config, data=data))
    assert "\n" not in str(error.value)
