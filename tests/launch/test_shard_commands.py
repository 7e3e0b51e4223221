"""`harnet shard`, `verify` and `purge`: their output and exit codes."""

import json
import shutil
from pathlib import Path

import pytest

from data_shards.cohort.store import Cohort
from data_shards.shards import manifest
from launch.cli import main

MANY = ("--quality", "none", "--blocks-per-shard", "4")


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    path = tmp_path / "withdrawn.txt"
    path.write_text("# 2026-11\np0\np3\n")
    return path


def test_shard_prints_the_flow_and_what_is_in_the_folder(
    cohort: Cohort, ids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "shards")
    assert main(["shard", str(cohort.root), "--out", out, *MANY, "--exclude", str(ids)]) == 0
    printed = capsys.readouterr().out
    assert "7  files and recordings in" in printed
    assert "excluded before: 2 recordings of participants in" in printed
    assert f"digest {manifest.read(Path(out)).digest[:16]}" in printed
    assert "p0" not in printed
    assert main(["shard", str(cohort.root), "--out", out, *MANY, "--exclude", str(ids), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["withdrawn"], found["flow"]["kept"], found["finished"]) == (2, 7, True)
    assert found["train"]["people"] + found["heldout"]["people"] == 7


def test_a_part_says_who_is_missing_and_succeeds(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["shard", str(cohort.root), "--out", str(tmp_path / "shards"), *MANY]
    assert main([*command, "--part", "2/3"]) == 0
    assert "part 2 of 3 is done; 3 of 5 shards are missing, of parts 1, 3;" in capsys.readouterr().out
    assert main([*command, "--part", "1/3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing_shards"] == 1
    assert main([*command, "--part", "3/3"]) == 0
    assert "manifest.parquet: digest" in capsys.readouterr().out
    assert main([*command, "--part", "4/3"]) == 1
    assert "--part 4/3" in capsys.readouterr().err


def test_verify_counts_and_lists(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy)]) == 0
    assert "5 shards, 16 blocks" in (line := capsys.readouterr().out)
    assert "all good" in line
    (copy / "train-000001.tar").unlink()
    assert main(["verify", str(copy)]) == 1
    assert "train-000001.tar: missing; copy this shard again" in capsys.readouterr().out
    assert main(["verify", str(copy), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["what"] == "missing"


def test_verify_takes_a_cohort_store_as_well(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(cohort.root, tmp_path / "cohort.zarr")
    assert main(["verify", str(copy), "--workers", "2"]) == 0
    assert "9 recordings" in (line := capsys.readouterr().out)
    assert "all good" in line
    path = copy / "p1-1" / "motion" / "c" / "0"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert main(["verify", str(copy)]) == 1
    assert f"{path}: its bytes differ; copy the recording again" in capsys.readouterr().out
    assert main(["verify", str(copy), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (len(found["problems"]), found["recordings"], found["unsealed"]) == (1, 9, 0)


def test_whose_translates_what_a_log_says(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = manifest.read(copy)
    for row in (0, 7, len(contents.columns["hour"]) - 1):
        where, _, byte = contents.name_of(row).partition(": block at byte ")
        assert all(name not in contents.name_of(row).removeprefix(str(copy)) for name in contents.recordings)
        assert main(["whose", where, byte, str(int(byte) + 9), "--json"]) == 0
        first, second = json.loads(capsys.readouterr().out)
        assert first == second
        assert f"{first['recording']}/{first['hour']}" == contents.key_of(row)
        assert first["recording"].startswith(f"{first['participant']}-")
        assert main(["whose", where, byte]) == 0
        assert f"participant {first['participant']}, recording" in capsys.readouterr().out
    for arguments, says in (([where, "0"], "no block at byte 0"), ([f"{copy}/train-9.tar", "0"], "lists no shard")):
        assert main(["whose", *arguments]) == 1
        assert says in capsys.readouterr().err


def test_purge_says_what_it_did_proved_and_cannot_reach(
    copy: Path, ids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["purge", str(copy), str(ids)]) == 0
    printed = capsys.readouterr().out
    for says in ("2 ids, 2 recordings", "proof:", "not reached: checkpoints", "--run.out"):
        assert says in printed
    assert "p0" not in printed
    assert main(["verify", str(copy)]) == 0
    capsys.readouterr()
    assert main(["purge", str(copy), str(ids), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ids"], found["recordings"], found["searched"]["found"]) == (2, 0, [])
    assert found["digest"] == manifest.read(copy).digest


def test_purge_fails_while_anything_is_left(copy: Path, ids: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "notes.txt").write_text("p3 called")
    assert main(["purge", str(copy), str(ids)]) == 1
    printed = capsys.readouterr().out
    assert f"left: {copy / 'notes.txt'}: a name" in printed
    assert "cannot be opened" in printed
    assert main(["verify", str(copy)]) == 1
    assert "a purge is running or was interrupted" in capsys.readouterr().err
    (copy / "notes.txt").unlink()
    assert main(["purge", str(copy), str(ids)]) == 0


def test_purge_of_a_cohort_store_and_of_something_else(
    cohort: Cohort, ids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(cohort.root, tmp_path / "cohort.zarr")
    assert main(["purge", str(tmp_path / "cohort.zarr"), str(ids)]) == 0
    assert "2 recordings removed" in capsys.readouterr().out
    assert len(Cohort.open(tmp_path / "cohort.zarr").recordings()) == 7
    assert main(["purge", str(tmp_path), str(ids)]) == 1
    assert "neither a cohort store nor a finished shard folder" in capsys.readouterr().err
