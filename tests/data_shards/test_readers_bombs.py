"""Archives that unpack to far more than they are: refused in one line, with nothing left on the disk."""

import bz2
import gzip
import io
import os
import resource
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_shards.readers import compressed, containers, load, nhanes
from harnet.errors import HarnetError
from tests.data_shards import test_readers_nhanes as hours

TABLE = b"time,x,y,z\n" + b"".join(b"%.2f,0.1,0.2,0.97\n" % (1_700_000_000 + number / 50) for number in range(100))


def refusal(path: Path) -> str:
    with pytest.raises(HarnetError) as caught:
        list(load(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("P1.csv", content)
    return file.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zipped])
def test_a_thousandfold(pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "USUAL_BYTES", 1 << 20)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "P1.csv.packed"
    path.write_bytes(pack(TABLE + b"\n" * (1 << 20)))
    error = refusal(path)
    assert "bytes that unpack to more than 1 MiB, as hardly any recording does: exclude it, or unpack it" in error
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    path.write_bytes(pack(TABLE + b"\n" * (1 << 19)))
    assert len(next(load(path)).recording.times) == 100


def test_a_directory_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "P1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("P1.csv", TABLE)
        for number in range(2000):
            archive.writestr(f"{number}", b"")
    assert len(next(load(path)).recording.times) == 100
    monkeypatch.setattr(containers, "MAX_DIRECTORY_BYTES", 50_000)
    assert "far too many files" in refusal(path)


def test_names_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "P1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one\nline.csv", TABLE)
        archive.writestr("another\r\nline.csv", TABLE)
    assert "2 device files (one line.csv, another line.csv)" in refusal(path)


def test_tars_of_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {hours.name(0): gzip.compress(hours.text(0).encode())}
    path = hours.write(tmp_path / "1.tar", content | {f"{number}.txt": b"" for number in range(99)})
    assert len(next(load(path)).recording.times) == hours.ROWS
    monkeypatch.setattr(nhanes, "MAX_MEMBERS", 99)
    assert refusal(path) == "more than 99 files in one tar: pass one tar per participant"
    monkeypatch.undo()

    path = hours.write(tmp_path / "2.tar", content)
    header = tarfile.TarInfo("comment")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    with tarfile.open(path, "a") as archive:
        assert archive.fileobj is not None
        archive.fileobj.write(header.tobuf())
    os.truncate(path, 2 << 30)  # a hole: takes no room on the disk
    assert "damaged archive" in refusal(path)


def test_an_hour_that_unpacks_a_thousandfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nhanes, "MAX_HOUR_BYTES", 1 << 20)
    hour = gzip.compress(hours.text(0).encode() + b"\n" * (1 << 20))
    path = hours.write(tmp_path / "1.tar", {hours.name(0): hour})
    assert "none of 1 hours is intact (2000-01-06-12-30-00: more than 1 MiB)" in refusal(path)


def test_no_room_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    path = tmp_path / "P1.csv.gz"
    path.write_bytes(gzip.compress(TABLE + b"\n" * (1 << 20)))
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, usual[1]))
    try:
        message = refusal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert message == f"cannot be unpacked into {folder} (File too large): point TMPDIR to a disk with room"
    assert not list(folder.iterdir())
