import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, purge, writer
from data_shards.shards.block import digest
from data_shards.shards.compression import Compression
from data_shards.shards.proof import Traces, search_file
from data_shards.shards.purge import purge_cohort, purge_shards
from data_shards.shards.shard_plan import ShardOptions
from data_shards.shards.verify_shards import verify_shards
from harnet.errors import HarnetError

OPTIONS = ShardOptions(blocks_per_shard=4, quality=POLICIES["none"])
GONE = frozenset({"p0", "p3", "p77"})
"""Two people of the cohort who share shards with others, and one who is not in it."""


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


def blocks(folder: Path) -> dict[tuple[str, str], bytes]:
    """(participant, key) -> bytes of each block's range, read directly from the tars."""
    found = {}
    for path in folder.glob("*.tar"):
        content = path.read_bytes()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = tar.getmembers()
        for about, signal, _, wear in zip(*(members[start::4] for start in range(4)), strict=True):
            person = json.loads(content[about.offset_data : about.offset_data + about.size])["participant"]
            key = about.name.removesuffix(".about.json")
            found[person, key] = content[signal.offset_data : wear.offset_data + wear.size]
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_their_blocks_go_and_the_others_stay_bit_for_bit(shards: Path, copy: Path) -> None:
    before, result = blocks(shards), purge_shards(copy, GONE)
    after = blocks(copy)
    assert after == {name: content for name, content in before.items() if name[0] not in GONE}
    assert result.blocks == len(before) - len(after) > 0
    assert result.recordings == 2
    assert verify_shards(copy) == []
    assert result.searched.found == result.searched.differs == ()
    assert result.searched.files == len(list(copy.iterdir()))
    assert result.searched.bytes == sum(path.stat().st_size for path in copy.iterdir())
    contents = manifest.read(copy)
    assert set(contents.participants) == {name for name, _ in after}
    assert contents.digest != manifest.read(shards).digest
    assert contents.provenance["purged"] == {"recordings": 2, "blocks": result.blocks}
    kept = {path.name for path in shards.glob("*.tar")} & {path.name for path in copy.glob("*.tar")}
    untouched = [name for name in kept if (shards / name).read_bytes() == (copy / name).read_bytes()]
    assert 0 < len(untouched) == len(kept) - result.rewritten


def test_a_rewritten_shard_is_what_sharding_the_others_would_have_written(cohort: Cohort, tmp_path: Path) -> None:
    whole = replace(OPTIONS, blocks_per_shard=1000)
    writer.write_shards(cohort, tmp_path / "purged", whole)
    purge_shards(tmp_path / "purged", GONE)
    writer.write_shards(cohort, tmp_path / "fresh", whole, exclude=GONE)
    for path in (tmp_path / "fresh").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "purged" / path.name).read_bytes()
    purged, fresh = (manifest.read(tmp_path / name) for name in ("purged", "fresh"))
    assert purged.shards == fresh.shards
    for name, column in fresh.columns.items():
        np.testing.assert_array_equal(purged.columns[name], column)
    assert purged.participants == fresh.participants


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_no_byte_of_theirs_is_left(cohort: Cohort, tmp_path: Path, compression: Compression) -> None:
    folder = tmp_path / "shards"
    writer.write_shards(cohort, folder, replace(OPTIONS, compression=compression))
    theirs = {name: content for name, content in blocks(folder).items() if name[0] in GONE}
    purge_shards(folder, GONE)
    for path in folder.rglob("*"):
        content = path.read_bytes()
        assert not any(block[:4096] in content for block in theirs.values())
        assert not any(f'"{person}"'.encode() in content or f"{key}.".encode() in content for person, key in theirs)
    table = pq.read_table(folder / manifest.FILE_NAME)
    for name in ("participant", "recording"):
        assert not any(word.split("-")[0] in GONE for word in table[name].chunk(0).dictionary.to_pylist())


def test_a_shard_of_nobody_else_is_gone(copy: Path) -> None:
    contents = manifest.read(copy)
    held_out = frozenset(
        contents.participants[code] for code in contents.columns["participant"][contents.rows("heldout")]
    )
    result = purge_shards(copy, held_out)
    assert (result.removed, result.rewritten) == (1, 0)
    assert not list(copy.glob("heldout-*"))
    assert verify_shards(copy) == []
    everybody = frozenset(contents.participants)
    assert purge_shards(copy, everybody).searched.found == ()
    assert [path.name for path in copy.iterdir()] == [manifest.FILE_NAME]
    assert len(manifest.read(copy).columns["hour"]) == 0


def test_people_who_are_not_in_it_are_proven_absent_and_nothing_changes(copy: Path) -> None:
    before = files(copy)
    result = purge_shards(copy, frozenset({"p77"}))
    assert (result.recordings, result.blocks, result.searched.found) == (0, 0, ())
    assert result.searched.files == len(before)
    assert files(copy) == before


def test_purging_twice_adds_up(copy: Path) -> None:
    first, second = purge_shards(copy, frozenset({"p0"})), purge_shards(copy, frozenset({"p3"}))
    assert manifest.read(copy).provenance["purged"] == {"recordings": 2, "blocks": first.blocks + second.blocks}


def test_killed_before_any_step_it_is_closed_and_the_next_one_finishes(
    shards: Path, copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text("\n".join(GONE))
    command = [
        sys.executable,
        "-m",
        "tests.data_shards.killed_runs",
        "killed",
        "purge",
        str(copy),
        str(tmp_path / "ids.txt"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 10
    shutil.copytree(shards, tmp_path / "other")
    purge_shards(tmp_path / "other", GONE)
    assert files(copy) == files(tmp_path / "other")


def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge that is interrupted between the shards and the manifest."""
    with monkeypatch.context() as patch:
        patch.setattr(purge, "_write_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            purge_shards(folder, GONE)


def test_while_it_is_not_finished_nobody_opens_the_folder(
    cohort: Cohort, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(copy, monkeypatch)
    for opens in (manifest.read, verify_shards, lambda folder: writer.write_shards(cohort, folder, OPTIONS)):
        with pytest.raises(HarnetError, match="a purge is running or was interrupted"):
            opens(copy)


def test_another_list_finishes_the_interrupted_one_first(
    shards: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(copy, monkeypatch)
    purge_shards(copy, frozenset({"p1"}))
    assert {name for name, _ in blocks(copy)} == {name for name, _ in blocks(shards)} - GONE - {"p1"}
    assert verify_shards(copy) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"we spoke to p0, who was kind"),
        ("p0.tar.gz", b""),
        ("below/.hidden.json", b'{"who": "p0-0"}'),
        ("train-000099.tar", None),
    ],
)
def test_what_is_left_of_them_elsewhere_in_the_folder_is_found(
    shards: Path, copy: Path, name: str, content: bytes | None
) -> None:
    if content is None:
        block = next(block for (person, _), block in blocks(shards).items() if person == "p0")
        content = bytes(512) + block + bytes(100)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(content)
    result = purge_shards(copy, GONE)
    assert all(str(copy / name) in found for found in result.searched.found)
    assert result.searched.found
    with pytest.raises(HarnetError, match="purge"):
        manifest.read(copy)
    (copy / name).unlink()
    assert purge_shards(copy, GONE).searched.found == ()
    assert verify_shards(copy) == []


def test_a_block_without_any_name_is_found_by_its_hash(shards: Path, tmp_path: Path) -> None:
    block = next(block for (person, _), block in blocks(shards).items() if person == "p0")
    (tmp_path / "file").write_bytes(b"some" + block + b"more")
    traces = Traces(frozenset({"nobody"}), hashes=frozenset({digest(block)}))
    (found,) = search_file(tmp_path, traces, tmp_path / "file").found
    assert found.endswith("a block of theirs")


def test_half_written_files_of_killed_runs_go(copy: Path) -> None:
    shutil.copy(copy / "train-000000.tar", copy / ".train-000000.tar.123.tmp")
    (copy / writer.PARTS).mkdir()
    shutil.copy(copy / manifest.FILE_NAME, copy / writer.PARTS / "train-000000.tar.parquet")
    assert purge_shards(copy, GONE).searched.found == ()
    assert not [path for path in copy.iterdir() if path.name.startswith(".")]


def test_an_old_shard_that_comes_back_is_found(shards: Path, copy: Path) -> None:
    purge_shards(copy, GONE)
    shutil.copy(shards / "train-000000.tar", copy)
    result = purge_shards(copy, GONE)
    assert result.searched.found == (f"{copy / 'train-000000.tar'}: a name",)
    assert result.searched.differs == (str(copy / "train-000000.tar"),)


def test_a_damaged_shard_of_others_is_reported_and_stops_nothing(copy: Path) -> None:
    contents = manifest.read(copy)
    rows = np.isin(contents.columns["participant"], [contents.participants.index(name) for name in ("p0", "p3")])
    touched = set(contents.columns["shard"][rows].tolist())
    other = next(shard.name for number, shard in enumerate(contents.shards) if number not in touched)
    content = bytearray((copy / other).read_bytes())
    content[5000] ^= 1
    (copy / other).write_bytes(content)
    result = purge_shards(copy, GONE)
    assert (result.searched.found, result.searched.differs) == ((), (str(copy / other),))
    assert manifest.read(copy)


def test_a_damaged_block_that_must_stay_is_named_and_a_sound_copy_lets_it_go_on(shards: Path, copy: Path) -> None:
    contents = manifest.read(copy)
    theirs = contents.columns["participant"] == contents.participants.index("p0")
    shard = int(contents.columns["shard"][theirs][0])
    row = int(np.flatnonzero((contents.columns["shard"] == shard) & ~theirs)[0])
    path = copy / contents.shards[shard].name
    content = bytearray(path.read_bytes())
    content[int(contents.columns["offset"][row]) + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(HarnetError, match=rf"{path.name}: block at byte {contents.columns['offset'][row]} is damaged"):
        purge_shards(copy, frozenset({"p0"}))
    shutil.copy(shards / path.name, path)
    assert purge_shards(copy, frozenset({"p0"})).searched.found == ()
    assert verify_shards(copy) == []


def test_links_are_refused_or_counted(shards: Path, copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "train-000000.tar", tmp_path / "elsewhere.tar")
    (copy / "train-000000.tar").symlink_to(tmp_path / "elsewhere.tar")
    with pytest.raises(HarnetError, match="is a link"):
        purge_shards(copy, GONE)
    (copy / "train-000000.tar").unlink()
    os.link(tmp_path / "elsewhere.tar", copy / "train-000000.tar")
    assert purge_shards(copy, GONE).linked == 1


def test_a_cohort_store_is_purged_and_searched(cohort: Cohort, tmp_path: Path) -> None:
    shutil.copytree(cohort.root, tmp_path / "cohort.zarr")
    copy = Cohort.open(tmp_path / "cohort.zarr")
    copy.index(copy.recordings())
    result = purge_cohort(copy, GONE)
    assert (result.recordings, result.searched.found) == (2, ())
    assert result.searched.files > len(copy.recordings())
    assert sorted(info.participant for info in copy.infos()) == ["p1", "p2", "p4", "p5", "p6", "p7", "p8"]
    (copy.root / ".index").mkdir(exist_ok=True)
    (copy.root / ".index" / "left").write_text('{"participant": "p3"}')
    assert purge_cohort(copy, GONE).searched.found == (f"{copy.root / '.index' / 'left'}: a name",)
