"""Device files inside gzip and bzip2: any kind, damage refused, and no end of disk for a bomb."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_cwa import MakeOptions, make
from data_shards.readers import ReadOptions, compressed, load, reader_for
from harnet.errors import HarnetError


@pytest.fixture(scope="module")
def cwa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "visit1.cwa"
    make(path, MakeOptions(days=0.03))
    return path


@pytest.mark.parametrize(
    ("name", "compress"),
    [("visit1.cwa.gz", gzip.compress), ("visit1.cwa.bz2", bz2.compress), ("visit1", gzip.compress)],
)
def test_content_decides(name: str, compress: Callable[[bytes], bytes], cwa: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(compress(cwa.read_bytes()))
    (plain,) = load(cwa)
    (found,) = load(path)
    np.testing.assert_array_equal(found.recording.times, plain.recording.times)
    np.testing.assert_array_equal(found.recording.acceleration, plain.recording.acceleration)
    assert found.label == "visit1"
    reader = reader_for(path, ReadOptions())
    assert reader.label(path) == "visit1"
    assert reader.kind == "Axivity .cwa (AX3, AX6), compressed"


def test_empatica_is_called_by_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "S09" / "ACC.csv.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"1700000000,1700000000,1700000000\n32,32,32\n" + b"1,2,60\n" * 40))
    (found,) = load(path)
    assert found.label == "S09"


def test_a_tables_settings_stay(tmp_path: Path) -> None:
    path = tmp_path / "P1.csv.gz"
    path.write_bytes(gzip.compress(b"t,x,y,z\n0,0,0,9.80665\n0.02,0,0,9.80665\n"))
    options = ReadOptions(columns=("t", "x", "y", "z"), units="m/s2")
    (found,) = load(path, options)
    np.testing.assert_allclose(found.recording.acceleration[:, 2], 1)
    assert reader_for(path, options).settings(options) == {"columns": "t,x,y,z", "units": "m/s2"}


def test_errors_name_the_file_given(tmp_path: Path) -> None:
    path = tmp_path / "P1.csv.gz"
    path.write_bytes(gzip.compress(b"time,x,y,z\n0,0,oops,1\n0.02,0,0,1\n"))
    with pytest.raises(HarnetError) as caught:
        list(load(path))
    assert str(caught.value).startswith(f"{path}: 1 of 2 data rows are sound")


@pytest.mark.parametrize("keep", [12, 40_000])
def test_cut_off(keep: int, cwa: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.cwa.gz"
    path.write_bytes(gzip.compress(cwa.read_bytes())[:keep])
    with pytest.raises(HarnetError, match=r"cut\.cwa\.gz: the compressed file is damaged"):
        list(load(path))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_flipped_byte(compress: Callable[[bytes], bytes], cwa: Path, tmp_path: Path) -> None:
    path = tmp_path / "flipped.cwa.gz"
    content = bytearray(compress(cwa.read_bytes()))
    content[len(content) * 9 // 10] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(HarnetError, match=r"flipped\.cwa\.gz: the compressed file is damaged"):
        list(load(path))


def test_a_bomb_is_refused_before_it_fills_the_disk(cwa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(cwa.read_bytes() + bytes(1 << 24)))
    monkeypatch.setattr(compressed, "MAX_BYTES", 1 << 23)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(HarnetError, match=r"bomb\.gz: unpacks to more than"):
        list(load(path))
    assert [each.name for each in tmp_path.iterdir()] == ["bomb.gz"]


def test_compressed_twice_is_not_unpacked_twice(cwa: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.cwa.gz.gz"
    path.write_bytes(gzip.compress(gzip.compress(cwa.read_bytes())))
    with pytest.raises(HarnetError, match="not a known device file"):
        list(load(path))
