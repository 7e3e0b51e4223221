"""Fuzzing targets: for each reader, a few small valid files and a function that corrects checksums after mutation.

In a file with checksums, a flipped bit is caught by the checksum, and the code behind it is never reached. Half of the
inputs are therefore sealed: after mutation, their checksums, or the archive around them, are recomputed.
"""

import gzip
import io
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_shards.readers import read
from data_shards.readers.axivity_blocks import BLOCK_BYTES, BLOCK_START, HEADER_BYTES
from data_shards.recording import Recording
from harnet.errors import HarnetError
from tests.data_shards import (
    test_readers_actigraph,
    test_readers_axivity,
    test_readers_geneactiv,
    test_readers_matrix,
    test_readers_nhanes,
)

START = 1_709_290_800


@dataclass(frozen=True)
class Target:
    """One reader."""

    seeds: Callable[[], list[bytes]]
    """Valid inputs, small enough for a thousand reads per minute."""
    seal: Callable[[bytes], bytes] = bytes
    """Turns an input into a file with correct checksums."""
    name: str = "input.bin"
    """File name: some readers take the participant from it."""


def try_to_read(target: Target, content: bytes, folder: Path) -> None:
    """Read a whole file; any exception or warning is a fault, except a one-line HarnetError."""
    path = folder / target.name
    path.write_bytes(content)
    refusal = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for found in read(path):
                _go_through(found.recording)
        except HarnetError as error:
            refusal = str(error)
    assert not refusal or refusal.startswith(str(path)), refusal
    assert "\n" not in refusal, refusal


def _go_through(recording: Recording) -> None:
    latest = -np.inf
    for times, acceleration in recording.pieces:
        assert acceleration.shape == (len(times), 3)
        assert np.isfinite(acceleration).all()
        assert np.isfinite(times).all()
        assert (np.diff(times, prepend=latest) > 0).all()
        latest = times[-1] if len(times) else latest
    assert not any("\n" in str(note) for note in recording.notes())
    recording.temperature()


def _axivity() -> list[bytes]:
    blocks = [test_readers_axivity.block(number, test_readers_axivity.counts(number)) for number in range(12)]
    others = []
    for axes, count in ((0x30, 120), (0x62, 40)):
        for number in range(4):
            other = bytearray(blocks[number])
            struct.pack_into("<BhH", other, 25, axes, 0, count)
            other[30:510] = bytes(480)
            others.append(bytes(other))
    head = test_readers_axivity.header()
    return [head + b"".join(each) for each in (blocks, others[:4], others[4:])]


def _sealed_axivity(content: bytes) -> bytes:
    """Every block begins with its tag, and its words sum to 0."""
    whole = bytearray(content)
    for start in range(HEADER_BYTES, len(whole) - BLOCK_BYTES + 1, BLOCK_BYTES):
        whole[start : start + 4] = BLOCK_START
        struct.pack_into("<H", whole, start + 510, 0)
        total = int(np.frombuffer(whole, "<u2", BLOCK_BYTES // 2, start).sum(dtype=np.uint64))
        struct.pack_into("<H", whole, start + 510, -total % 65_536)
    return bytes(whole)


def _geneactiv() -> list[bytes]:
    pages = [test_readers_geneactiv.page(number) for number in range(3)]
    # Short pages, so that mutations rarely hit a sample.
    short = ["\n".join([*page.splitlines()[:-1], page.splitlines()[-1][:60]]) + "\n" for page in pages]
    return [(test_readers_geneactiv.header() + "".join(each)).encode() for each in (short, pages[:1])]


MARK = b"\n=== log ===\n"
"""Separates info.txt from the log in an input for ActiGraph's reader, which is fuzzed inside its archive."""


def _actigraph() -> list[bytes]:
    info = "\n".join(f"{key}: {value}" for key, value in test_readers_actigraph.INFO.items()).encode()
    log = b"".join(test_readers_actigraph.plain(second) for second in range(8))
    packed = test_readers_actigraph.record(
        0, START + 9, test_readers_actigraph.packed(test_readers_actigraph.counts(9))
    )
    return [info + MARK + log + packed, info.replace(b"TAS", b"NEO") + MARK + log]


def _sealed_actigraph(content: bytes) -> bytes:
    """An archive of info.txt and the log with a checksum in every record; old ones (no S) have activity.bin."""
    info, _, rest = content.partition(MARK)
    log = bytearray(rest)
    at = log.find(0x1E)
    while at >= 0 and at + 8 < len(log):
        stop = at + 8 + int.from_bytes(log[at + 6 : at + 8], "little")
        if stop >= len(log):
            at = log.find(0x1E, at + 1)
            continue
        log[stop] = int(np.bitwise_xor.reduce(np.frombuffer(bytes(log[at:stop]), np.uint8))) ^ 0xFF
        at = log.find(0x1E, stop + 1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("activity.bin" if b"NEO" in info else "log.bin", bytes(log))
        archive.writestr("info.txt", info)
    return file.getvalue()


def _matrix() -> list[bytes]:
    packets = [test_readers_matrix.packet(number) for number in range(2)]
    return [test_readers_matrix.header(2) + b"".join(packets), test_readers_matrix.header(2) + packets[0]]


def _sealed_matrix(content: bytes) -> bytes:
    """Every packet gets its CRC."""
    whole = bytearray(content)
    at = whole.find(b"MDTCPACK")
    while at >= 0 and at + 36 <= len(whole):
        counts = struct.unpack_from("<IIII", whole, at + 20)
        stop = at + 36 + 6 * (counts[0] + counts[1]) + 4 * (counts[2] + counts[3])
        if stop <= len(whole):
            struct.pack_into("<I", whole, at + 8, zlib.crc32(whole[at + 12 : stop]))
        at = whole.find(b"MDTCPACK", at + 8)
    return bytes(whole)


def _nhanes() -> list[bytes]:
    return ["\n".join(test_readers_nhanes.text(number).splitlines()[:40]).encode() for number in (0, 1)]


def _sealed_nhanes(content: bytes) -> bytes:
    """A tar of two hours, one of which is the input."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number, text in ((0, content), (1, test_readers_nhanes.text(1).encode()[:2000])):
            packed = gzip.compress(text, compresslevel=1)
            member = tarfile.TarInfo(test_readers_nhanes.name(number))
            member.size = len(packed)
            archive.addfile(member, io.BytesIO(packed))
    return file.getvalue()


def _nhanes_tar() -> list[bytes]:
    return [_sealed_nhanes(each) for each in _nhanes()]


def _empatica() -> list[bytes]:
    rows = "\n".join(f"{number % 9 - 4},{number % 7},64" for number in range(60))
    return [f"{START}.000000, {START}.000000, {START}.000000\n32.000000, 32.000000, 32.000000\n{rows}\n".encode()]


def _tables() -> list[bytes]:
    rows = [(START + number / 50, 0.01 * (number % 5), -0.02, 0.98) for number in range(120)]
    plain = "time,x,y,z\n" + "\n".join(",".join(map(str, row)) for row in rows)
    stamps = [f"2024-03-01 12:00:{number // 50:02d}.{number % 50 * 20:03d}" for number in range(120)]
    named = [f"{stamp},{x},{y},{z}" for stamp, (_, x, y, z) in zip(stamps, rows, strict=True)]
    comma = plain.replace(",", ";").replace(".", ",")
    zoned = [f"{stamp}+0100 [Europe/Berlin],{x},{y},{z}" for stamp, (_, x, y, z) in zip(stamps, rows, strict=True)]
    return [
        text.encode()
        for text in (
            plain,
            comma,
            "\n".join(named),
            "Time,X,Y,Z\n" + "\n".join(zoned),
            plain.replace(",", "\t"),
            "time,x,y,z\n" + "\n".join(f"{int(time)},{x},{y},{z}" for time, x, y, z in rows),
        )
    ]


def _actilife() -> list[bytes]:
    head = (
        "------------ Data File Created By ActiGraph Link ActiLife v6.13.3 Firmware v1.7.2 date format dd/MM/yyyy "
        "at 30 Hz  Filter Normal -----------\nSerial Number: TAS1H00000001\nStart Time 12:00:00\n"
        "Start Date 01/03/2024\n"
        "Epoch Period (hh:mm:ss) 00:00:00\nDownload Time 13:00:00\nDownload Date 08/03/2024\n"
        "Current Memory Address: 0\nCurrent Battery Voltage: 4,12     Mode = 12\n"
        "--------------------------------------------------\n"
    )
    rows = "\n".join(f"{0.01 * (number % 5):.3f},-0.020,0.980" for number in range(120))
    stamped = "\n".join(
        f"01/03/2024 12:00:{number // 30:02d}.{number % 30 * 1000 // 30:03d},{0.01 * (number % 5):.3f},-0.020,0.980"
        for number in range(120)
    )
    titles = "Accelerometer X,Accelerometer Y,Accelerometer Z\n"
    return [(head + titles + rows).encode(), (head + "Timestamp," + titles + stamped).encode(), (head + rows).encode()]


def _parquet() -> list[bytes]:
    seeds = []
    for time in (
        pa.array(START + np.arange(120) / 50),
        pa.array((np.arange(120) * 20_000 + START * 1_000_000).astype("datetime64[us]")),
        pa.array([f"2024-03-01 12:00:{number // 50:02d}.{number % 50 * 20:03d}" for number in range(120)]),
    ):
        columns = {"time": time, **{axis: pa.array(np.linspace(-1, 1, 120).astype("f4")) for axis in "xyz"}}
        for options in (
            {},
            {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 60},
            {"compression": "none", "use_dictionary": False},
        ):
            file = io.BytesIO()
            pq.write_table(pa.table(columns), file, **options)
            seeds.append(file.getvalue())
    return seeds


def _seglearn() -> list[bytes]:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    return [file.getvalue() + pickle.dumps({"X": []}, protocol=2)]


def _archives() -> list[bytes]:
    seeds = []
    for name, content in (
        ("P1.csv", _tables()[0]),
        ("P1/ACC.csv", _empatica()[0]),
        ("x.gt3x", _sealed_actigraph(_actigraph()[0])),
    ):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        seeds += [file.getvalue(), gzip.compress(content)]
    return seeds


TARGETS = {
    "axivity": Target(_axivity, _sealed_axivity),
    "geneactiv": Target(_geneactiv),
    "actigraph": Target(_actigraph, _sealed_actigraph),
    "matrix": Target(_matrix, _sealed_matrix),
    "nhanes": Target(_nhanes, _sealed_nhanes),
    "nhanes-tar": Target(_nhanes_tar),
    "actilife": Target(_actilife),
    "empatica": Target(_empatica, name="ACC.csv"),
    "table": Target(_tables),
    "parquet": Target(_parquet),
    "seglearn": Target(_seglearn),
    "archive": Target(_archives),
}
