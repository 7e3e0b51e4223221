import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_shards import manifest
from data_shards.verify import verify


@pytest.fixture
def damaged(shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


def members(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def cut_between_samples(path: Path) -> None:
    second = next(member for member in members(path)[1:] if member.name.endswith("about.json"))
    path.write_bytes(path.read_bytes()[: second.offset])


def cut_inside_a_member(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def flip_in_a_header(path: Path) -> None:
    flip(path, members(path)[0].offset + 3)


def flip_in_a_signal(path: Path) -> None:
    signal = next(member for member in members(path) if member.name.endswith("accel.npy"))
    flip(path, signal.offset_data + 1000)


def test_a_sound_folder_has_no_problem(shards: Path) -> None:
    assert verify(shards) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_between_samples, "the manifest says"),
        (cut_inside_a_member, "the manifest says"),
        (flip_in_a_header, "tar header or about.json"),
        (flip_in_a_signal, "bytes differ"),
        (Path.unlink, "missing"),
    ],
)
def test_each_kind_of_damage_is_found_and_named(damaged: Path, damage: Callable[[Path], None], says: str) -> None:
    path = damaged / "train-000001.tar"
    damage(path)
    problems = list(map(str, verify(damaged)))
    assert any(says in problem for problem in problems), problems
    assert all("train-000001.tar" in problem and "; " in problem for problem in problems)


def test_only_the_flipped_block_is_named(damaged: Path) -> None:
    flip_in_a_signal(damaged / "train-000000.tar")
    first = members(damaged / "train-000000.tar")[0].name.removesuffix(".about.json")
    assert [problem.where for problem in verify(damaged)] == [f"{damaged / 'train-000000.tar'}: block {first}"]


def test_a_strangers_shard_is_named(damaged: Path) -> None:
    shutil.copy(damaged / "train-000000.tar", damaged / "train-000099.tar")
    (problem,) = verify(damaged)
    assert problem.where.endswith("train-000099.tar")
    assert "not in the manifest" in problem.what


def test_a_stale_manifest_is_named(damaged: Path) -> None:
    path = damaged / manifest.FILE_NAME
    table = pq.read_table(path)
    about = table.schema.metadata
    hashes = table["hash"].to_pylist()
    hashes[0] += 1
    table = table.set_column(3, table.schema.field("hash"), pa.array(hashes, pa.uint64()))
    pq.write_table(table.replace_schema_metadata(about), path)
    (problem,) = verify(damaged)
    assert "manifest is stale" in problem.remedy
