import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, writer
from data_shards.shards.shard_plan import ShardOptions
from data_shards.shards.shard_rows import rows_by_shard
from data_shards.shards.verify_shards import verify_shards
from harnet.errors import HarnetError


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
    flip(path, members(path)[4].offset + 3)


def flip_in_about(path: Path) -> None:
    flip(path, members(path)[4].offset_data + 3)


def flip_in_padding(path: Path) -> None:
    flip(path, members(path)[4].offset - 1)


def flip_at_the_end(path: Path) -> None:
    flip(path, path.stat().st_size - 1)


def flip_in_a_signal(path: Path) -> None:
    signal = next(member for member in members(path) if member.name.endswith("accel.npy"))
    flip(path, signal.offset_data + 1000)


def test_a_sound_folder_has_no_problem(shards: Path) -> None:
    assert verify_shards(shards) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_between_samples, "the manifest says"),
        (cut_inside_a_member, "the manifest says"),
        (flip_in_a_header, "tar header or about.json"),
        (flip_in_about, "tar header or about.json"),
        (flip_in_padding, "tar header or about.json"),
        (flip_at_the_end, "end of the archive"),
        (flip_in_a_signal, "bytes differ"),
        (Path.unlink, "missing"),
        (lambda path: path.write_bytes(b""), "0 bytes, the manifest says"),
    ],
)
def test_each_kind_of_damage_is_found_and_named(damaged: Path, damage: Callable[[Path], None], says: str) -> None:
    path = damaged / "train-000001.tar"
    damage(path)
    problems = list(map(str, verify_shards(damaged)))
    assert any(says in problem for problem in problems), problems
    assert all("train-000001.tar" in problem and "; " in problem for problem in problems)


@pytest.mark.parametrize("damage", [flip_in_a_header, flip_in_about, flip_in_padding])
def test_a_flipped_byte_before_a_block_names_the_block(damaged: Path, damage: Callable[[Path], None]) -> None:
    path = damaged / "train-000000.tar"
    second = members(path)[5].offset_data
    damage(path)
    assert [problem.where for problem in verify_shards(damaged)] == [f"{path}: block at byte {second}"]


def test_the_blocks_that_a_cut_took_are_named(damaged: Path) -> None:
    path = damaged / "train-000000.tar"
    places = [member.offset_data for member in members(path) if "accel" in member.name]
    cut_between_samples(path)
    size, blocks = verify_shards(damaged)
    assert size.where == str(path)
    assert blocks.where == f"{path}: block at byte {places[1]} to byte {places[-1]} ({len(places) - 1} blocks)"
    assert blocks.what == "cut off"


def test_only_the_flipped_block_is_named(damaged: Path) -> None:
    flip_in_a_signal(damaged / "train-000000.tar")
    first = members(damaged / "train-000000.tar")[1].offset_data
    assert [problem.where for problem in verify_shards(damaged)] == [
        f"{damaged / 'train-000000.tar'}: block at byte {first}"
    ]


def test_a_strangers_shard_is_named(damaged: Path) -> None:
    shutil.copy(damaged / "train-000000.tar", damaged / "train-000099.tar")
    (problem,) = verify_shards(damaged)
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
    edited(damaged, lambda about: None)
    (problem,) = verify_shards(damaged)
    assert "manifest is stale" in problem.remedy


def test_a_manifest_of_other_shards_is_named(damaged: Path, cohort: Cohort, tmp_path: Path) -> None:
    other = ShardOptions(blocks_per_shard=4, quality=POLICIES["none"], compression="zstd")
    writer.write_shards(cohort, tmp_path / "other", other)
    shutil.copy(tmp_path / "other" / manifest.FILE_NAME, damaged)
    problems = verify_shards(damaged)
    assert {problem.where.rpartition("/")[2] for problem in problems} == {path.name for path in damaged.glob("*.tar")}
    assert any("another manifest" in problem.what for problem in problems)


def test_swapped_shards_are_named_as_such(damaged: Path) -> None:
    one, other = damaged / "train-000000.tar", damaged / "heldout-000000.tar"
    one.rename(damaged / "aside")
    other.rename(one)
    (damaged / "aside").rename(other)
    problems = verify_shards(damaged)
    assert [problem.where for problem in problems] == [str(one), str(other)]
    assert [problem.what for problem in problems] == [f"holds the bytes of {path.name}" for path in (other, one)]
    assert "swapped" in problems[0].remedy


def test_a_shard_copied_over_one_of_the_other_split_is_named(damaged: Path) -> None:
    shutil.copy(damaged / "train-000001.tar", damaged / "heldout-000000.tar")
    (problem,) = verify_shards(damaged)
    assert (problem.where, problem.what) == (str(damaged / "heldout-000000.tar"), "holds the bytes of train-000001.tar")


def test_a_copy_in_a_folder_below_is_a_stranger(damaged: Path) -> None:
    (damaged / "heldout").mkdir()
    shutil.copy(damaged / "train-000000.tar", damaged / "heldout")
    (problem,) = verify_shards(damaged)
    assert problem.what == "not in the manifest"


def edited(folder: Path, change: Callable[[dict], None]) -> None:
    """Change a manifest's entries for its shards and remove its checksums, as if its writer had been wrong."""
    path = folder / manifest.FILE_NAME
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"harnet_manifest"])
    change(about)
    about.pop("sums")
    pq.write_table(table.replace_schema_metadata({"harnet_manifest": json.dumps(about)}), path)


def test_a_name_listed_twice_and_people_in_both_splits_are_named(damaged: Path) -> None:
    def twice(about: dict) -> None:
        about["shards"][1] = about["shards"][0]

    edited(damaged, twice)
    assert any("lists train-000000.tar more than once" in problem.what for problem in verify_shards(damaged))


def test_people_in_both_splits_are_counted(cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    writer.write_shards(cohort, folder, ShardOptions(blocks_per_shard=1, quality=POLICIES["none"]))
    (folder / "train-000000.tar").rename(folder / "heldout-999999.tar")
    edited(folder, lambda about: about["shards"][0].update(split="heldout", name="heldout-999999.tar"))
    (problem,) = verify_shards(folder)
    assert problem.what == "1 people are both in train and in heldout shards"


def test_a_block_of_a_shard_that_is_not_listed_is_refused(damaged: Path) -> None:
    edited(damaged, lambda about: about["shards"].pop())
    with pytest.raises(HarnetError, match="does not list"):
        verify_shards(damaged)


def test_verify_with_two_workers_finds_the_same(damaged: Path) -> None:
    flip_in_a_signal(damaged / "train-000000.tar")
    assert verify_shards(damaged, workers=2) == verify_shards(damaged)


def test_rows_in_any_order_are_found(shards: Path) -> None:
    contents = manifest.read(shards)
    order = np.random.default_rng(0).permutation(len(contents.columns["shard"]))
    shuffled = replace(contents, columns={name: values[order] for name, values in contents.columns.items()})
    for expected, found in zip(rows_by_shard(contents), rows_by_shard(shuffled), strict=True):
        assert sorted(expected.offset.tolist()) == sorted(found.offset.tolist())
        assert {expected.name(place) for place in range(len(expected.rows))} == {
            found.name(place) for place in range(len(found.rows))
        }
        assert order[found.rows].tolist() == [
            expected.rows[np.flatnonzero(expected.offset == at)[0]] for at in found.offset
        ]
