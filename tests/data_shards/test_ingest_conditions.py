"""`harnet ingest` beside another process on the same store, and on full disks."""

import errno
import os
from pathlib import Path

import pytest

from data_shards.cohort.store import Cohort
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.run import ingest
from data_shards.readers import axivity_blocks
from launch.cli import main
from tests.data_shards.test_ingest import table
from tests.data_shards.test_readers_axivity import block, counts, write


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_recording_that_another_process_added_meanwhile(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = table(tmp_path / "in" / "a.csv"), table(tmp_path / "other" / "a.csv", seed=seed)
    out = tmp_path / "c.zarr"
    write_hours = Cohort.write_hours

    def overtaken(self: Cohort, *arguments: object) -> object:
        monkeypatch.setattr(Cohort, "write_hours", write_hours)
        assert ingest([other], out, IngestOptions())[0][0].status == "ingested"
        return write_hours(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Cohort, "write_hours", overtaken)
    (outcome,), _ = ingest([path], out, IngestOptions())
    if seed == 0:
        assert (outcome.status, Cohort.open(out).unreadable()) == ("already there", [])
    else:
        assert outcome.reason.startswith(f"{path}: its name is taken by another recording, from a.csv")


def test_a_full_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Cohort, "write_hours", full)
    out = tmp_path / "c.zarr"
    assert main(["ingest", str(table(tmp_path / "a.csv")), "--out", str(out)]) == 1
    assert f"harnet ingest: {out}: No space left on device; finished work is kept" in capsys.readouterr().err


def test_a_full_disk_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.cwa", [bytes(512), *(block(number, counts(number)) for number in range(1, 30))])
    monkeypatch.setattr(axivity_blocks, "copy_blocks", full)
    (outcome,), _ = ingest([path], tmp_path / "c.zarr", IngestOptions())
    assert outcome.reason.startswith(f"{path}: temporary files cannot be written into ")
    assert outcome.reason.endswith(" (No space left on device): point TMPDIR to a disk with room")
