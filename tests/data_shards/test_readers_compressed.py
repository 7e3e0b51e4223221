"""Device files inside gzip and bzip2: any kind is read, damage is refused, and a bomb cannot fill the disk."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_cwa import MakeOptions, make
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.ingest_plan import plan_ingest
from data_shards.readers import ReadOptions, compressed, load, reader_for
from harnet.errors import HarnetError
from tests.data_shards.test_readers_axivity import block, header


@pytest.fixture(scope="module")
def cwa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "visit1.cwa"
    make(path, MakeOptions(days=0.03))
    return path


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        *(("visit1.cwa.gz", gzip.compress), ("visit1.cwa.bz2", bz2.compress)),
        *(("visit1.CWA.GZ", gzip.compress), ("visit1", gzip.compress)),
    ],
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
    assert str(caught.value).startswith(f"{path}: 1 of 2 data rows are valid")


def test_an_error_in_a_cleaned_copy_names_the_file_once(tmp_path: Path) -> None:
    absurd = np.tile([[30_000, 0, 0], *[[0, 0, 256]] * 9], (8, 1))
    blocks = [block(number, absurd) for number in range(50)]
    damaged = blocks[7][:100] + b"\x55" + blocks[7][101:]
    content = header() + b"".join([*blocks[:7], damaged, *blocks[8:]])
    for name, packed in (("x.cwa", content), ("x.cwa.gz", gzip.compress(content))):
        path = tmp_path / name
        path.write_bytes(packed)
        with pytest.raises(HarnetError) as caught:
            list(load(path))
        assert str(caught.value).startswith(f"{path}: absurd values: 392 of 3,920"), caught.value


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
    with pytest.raises(
        HarnetError, match=r"twice\.cwa\.gz\.gz: an archive inside another one: nested archives are not"
    ):
        list(load(path))


E4 = b"1594920460,1594920460,1594920460\n32,32,32\n" + b"1,2,60\n-3,1,64\n" * 320


def zip_of(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return path


def packed_session() -> bytes:
    """An E4 session: a zip archive with an info.txt, as a .gt3x has."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("info.txt", "ACC.csv: the accelerometer")
        archive.writestr("ACC.csv", E4)
    return packed.getvalue()


@pytest.mark.parametrize("folder", ["", "S1__", "data__S1__"])
def test_an_empatica_session_is_named_after_its_archive(folder: str, tmp_path: Path) -> None:
    others = {"TEMP": b"1594920460.0\n4.0\n31\n", "IBI": b"1594920460.0, IBI\n1.2,0.8\n", "tags": b"", "info": b"What"}
    members = {f"{folder}{name}_dot_csv": content for name, content in others.items()}
    path = zip_of(tmp_path / "1594920460_A01.2.zip", **members, **{f"{folder}info_dot_txt": b"ACC"},
                  **{f"{folder}ACC_dot_csv": E4, "__MACOSX__._ACC_dot_csv": E4})  # fmt: skip
    (found,) = load(path)
    assert (found.label, found.recording.device, len(found.recording.times)) == ("1594920460_A01.2", "Empatica E4", 640)


@pytest.mark.parametrize("name", ["visit1.zip", "visit1.cwa.zip", "visit1"])
def test_one_device_file_in_an_archive(name: str, cwa: Path, tmp_path: Path) -> None:
    path = zip_of(tmp_path / name, readme_dot_txt=b"as promised", folder__any_dot_cwa=cwa.read_bytes())
    (plain,) = load(cwa)
    (found,) = load(path)
    np.testing.assert_array_equal(found.recording.acceleration, plain.recording.acceleration)
    assert found.label == "visit1"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a_dot_csv": E4, "b_dot_csv": E4}, r"a zip archive of 2 device files \(a.csv, b.csv\): unpack it and ingest"),
        ({"a_dot_txt": b"hello"}, r"a zip archive without a device file that can be read in it \(1 other files\)"),
        ({"a_dot_zip": b"PK\x03\x04" + bytes(99)}, "nested archives are not unpacked: unpack them manually"),
        ({"a_dot_zip": packed_session()}, "nested archives are not unpacked: unpack them manually"),
        ({"a_dot_csv_dot_gz": gzip.compress(E4)}, "nested archives are not unpacked: unpack them manually"),
        ({}, "zip archive"),
    ],
)
def test_archives_that_are_refused(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "p.zip", first=b"x", **members)
    with pytest.raises(HarnetError, match=rf"p\.zip: .*{message}".replace("(1 other", "(2 other")) as caught:
        list(load(path))
    assert "\n" not in str(caught.value)


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "p.zip", ACC_dot_csv=E4 + np.random.default_rng(0).bytes(1 << 16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(HarnetError, match=r"p\.zip: .*damaged"):
        list(load(path))
    path.write_bytes(content[:2000])
    with pytest.raises(HarnetError, match=r"p\.zip: "):
        list(load(path))


def test_an_archive_of_a_version_that_does_not_exist(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "p.zip", ACC_dot_csv=E4)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 235
    path.write_bytes(content)
    with pytest.raises(HarnetError, match=r"p\.zip: the zip archive is damaged or cut off: copy it again"):
        list(load(path))


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(tmp_path / "p.zip", ACC_dot_csv=E4 + b"1,2,60\n" * 100_000)
    monkeypatch.setattr(compressed, "MAX_BYTES", 1 << 18)
    with pytest.raises(HarnetError, match=r"p\.zip: unpacks to more than"):
        list(load(path))


def test_files_that_may_hold_recordings_are_not_skipped_in_folders(cwa: Path, tmp_path: Path) -> None:
    content = cwa.read_bytes()
    folder = tmp_path / "site"
    folder.mkdir()
    whole = zip_of(folder / "cut.zip", visit1_dot_cwa=content)
    whole.write_bytes(whole.read_bytes()[:-2000])
    locked = bytearray(zip_of(folder / "locked.zip", visit2_dot_cwa=content).read_bytes())
    for flags in (6, locked.rindex(b"PK\x01\x02") + 8):
        locked[flags] |= 1
    (folder / "locked.zip").write_bytes(locked)
    zip_of(folder / "nested.zip", visit3_dot_cwa_dot_gz=gzip.compress(content))
    (folder / "twice.cwa.gz.gz").write_bytes(gzip.compress(gzip.compress(content)))
    (folder / "start.cwa.gz").write_bytes(gzip.compress(content)[:20])
    zip_of(folder / "papers.zip", paper_dot_pdf=b"%PDF-1.7")
    for name in ("empty.CWA", "tags.csv", "COPIED"):
        (folder / name).touch()
    (folder / "tags.csv.gz").write_bytes(gzip.compress(b""))
    (folder / "nothing.cwa.gz").write_bytes(gzip.compress(b""))
    zip_of(folder / "hollow.zip", visit4_dot_cwa=b"")
    zip_of(folder / "part.gt3x", info_dot_txt=b"Sample Rate: 30")
    for name in ("zeros.bin", "zeros.csv"):
        (folder / name).write_bytes(bytes(5000))
    (folder / "text.cwa").write_text("Not found")
    (folder / "site.cwa.xz").write_bytes(lzma.compress(content))
    with tarfile.open(folder / "site.tgz", "w:gz") as archive:
        archive.add(cwa, "visit5.cwa")
    planned = plan_ingest([folder], IngestOptions())
    assert sorted(path.name for path, _ in planned.refused) == [
        *("cut.zip", "empty.CWA", "hollow.zip", "locked.zip", "nested.zip", "nothing.cwa.gz", "part.gt3x"),
        *("site.cwa.xz", "site.tgz", "start.cwa.gz", "text.cwa", "twice.cwa.gz.gz", "zeros.bin"),
    ]
    skipped = ["COPIED", "papers.zip", "tags.csv", "tags.csv.gz", "zeros.csv"]
    assert [Path(path).name for path in planned.skipped] == skipped
