"""ActiGraph (.gt3x): a zip archive with info.txt and log.bin, or in old files (NHANES) activity.bin.

Layout: ActiGraph's own documents, github.com/actigraph/GT3X-File-Format and NHANES-GT3X-File-Format. The permissive
library for it (actfast 1.3.0) reads no acceleration from these files; ActiGraph's own (pygt3x 0.7.1) is GPL-3, fills
idle sleep with repeated values, dates old files to 1990 and needs 1.5 GB for a day at 100 Hz. Hence the records are
read here: a second each, with a checksum.
"""

import errno
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.protocol import Found, Reader, ReadOptions
from data_shards.readers.samples import forward
from data_shards.recording import Piece, Recording
from harnet.errors import HarnetError

ZIP_START = b"PK\x03\x04"
NAMES = (b"log.bin", b"info.txt", b"activity.bin", b"epoch.bin", b"gt3xplus.ico")
"""One of these is among the first members of every .gt3x."""

SEPARATOR = 0x1E
HEAD_SIZE = 8
"""Separator, type, timestamp (4), size (2); the payload and one byte of checksum follow."""
PACKED, PLAIN = 0, 26
"""Record types ACTIVITY (12 bits, y x z) and ACTIVITY2 (16 bits, x y z): a second of samples each."""
PIECE_BYTES = 1 << 16
"""Where the archive is damaged, the piece that holds the damage is lost."""
PLAUSIBLE_SECONDS = (-86_400, 366 * 86_400)
"""From the start in info.txt; a record outside is damage that its checksum of one byte has not found."""
MOST_OF_RANGE = 1.1
"""Likewise a record with a value so far above full scale (6.006 g occurs in devices of ±6 g)."""
SECONDS_AT_A_TIME = 5000
MAX_BYTES = 4 << 30
"""Of log.bin: ten times a week at 100 Hz. A small archive that announces more was made to fill the memory."""

TICKS_TO_1970 = 621_355_968_000_000_000
TICKS_PER_SECOND = 10_000_000
""".NET ticks (info.txt.md): 100 ns since 0001-01-01."""
SCALES = {"NEO": (341.0, 6.0), "CLE": (341.0, 6.0), "MRA": (341.0, 6.0), "MOS": (256.0, 8.0), "TAS": (256.0, 8.0)}
"""Counts per g and full scale by the serial number's first letters (Activity2.md), where info.txt does not say."""


@dataclass(frozen=True)
class Info:
    """What info.txt says."""

    rate: float
    """Samples per second."""
    scale: float
    """Counts per g."""
    range_g: float
    """Full scale."""
    start: float
    """Wall clock of the first sample of an old file, seconds since 1970."""
    fields: dict[str, str]
    """All of it; it holds the subject's name, so only what is named here is ever used."""


class ActiGraph(Reader):
    """Seconds that the device slept through (idle sleep mode) are a jump in time; no value is repeated into them."""

    kind = "ActiGraph .gt3x"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By a zip archive with one of the members that every .gt3x has."""
        return head.startswith(ZIP_START) and any(name in head for name in NAMES)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` if the archive or its info.txt is damaged."""
        tally = Tally(path)
        with ExitStack() as stack:
            with _archive_errors(path):
                archive = stack.enter_context(zipfile.ZipFile(path))
                info = _info(archive, path)
            yield Found(_recording(archive, info, tally), label=path.stem)


@contextmanager
def _archive_errors(path: object) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError) as error:
        # A damaged directory sends zipfile to a place before the file's beginning: "invalid argument".
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise HarnetError(f"{path}: the zip archive is damaged or cut off ({error}): copy it again") from error


def _recording(archive: zipfile.ZipFile, info: Info, tally: Tally) -> Recording:
    return Recording(
        pieces=forward(_pieces(archive, info, tally), tally),
        nominal_rate=info.rate,
        device=f"ActiGraph {info.fields.get('Device Type', '')}".strip(),
        clock="local",
        range_g=info.range_g,
        notes=tally.notes,
        metadata={
            name: info.fields[key]
            for name, key in (
                ("device_id", "Serial Number"),
                ("firmware", "Firmware"),
                ("time_zone", "TimeZone"),
            )
            if key in info.fields
        },
    )


def _info(archive: zipfile.ZipFile, path: Path) -> Info:
    try:
        with archive.open("info.txt") as file:
            lines = file.read(1 << 16).decode("utf-8", "replace").splitlines()
    except KeyError as error:
        raise HarnetError(f"{path}: a zip archive without info.txt: not a whole .gt3x file") from error
    fields = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    scale, range_g = SCALES.get(fields.get("Serial Number", "")[:3], (0.0, 0.0))
    try:
        info = Info(
            rate=float(fields["Sample Rate"]),
            scale=float(fields.get("Acceleration Scale", scale)),
            range_g=float(fields.get("Acceleration Max", range_g)),
            start=(int(fields["Start Date"]) - TICKS_TO_1970) / TICKS_PER_SECOND,
            fields=fields,
        )
    except (KeyError, ValueError) as error:
        raise HarnetError(f"{path}: info.txt lacks a number for the rate, scale or start ({error})") from error
    if not (0 < info.rate <= 1000 and 0 < info.scale < np.inf and 0 < info.range_g < np.inf and info.start > 0):
        serial = fields.get("Serial Number", "none")
        raise HarnetError(
            f"{path}: info.txt gives {info.rate:g} Hz and {info.scale:g} counts per g for the device {serial}: not "
            "usable, export the file again"
        )
    return info


def _pieces(archive: zipfile.ZipFile, info: Info, tally: Tally) -> Iterator[Piece]:
    with _archive_errors(tally.named):
        names = set(archive.namelist())
        log = next((name for name in ("log.bin", "activity.bin") if name in names), None)
        if log is None:
            raise HarnetError(f"{tally.named}: a zip archive without log.bin or activity.bin: not a whole .gt3x file")
        size = archive.getinfo(log).file_size
        if size > MAX_BYTES:
            raise HarnetError(
                f"{tally.named}: {log} unpacks to {size >> 20} MiB, more than any device records: leave it out"
            )
        found = False
        with archive.open(log) as file:
            content = _Content(file)
            for piece in _old_samples(content, info) if log == "activity.bin" else _seconds(content, info, tally):
                found = found or len(piece.times) > 0
                yield piece
        content.count_in(tally, log)
    if not found:
        raise HarnetError(f"{tally.named}: no second of acceleration in the log: leave it out")


def _seconds(content: "_Content", info: Info, tally: Tally) -> Iterator[Piece]:
    """The samples of log.bin: of records of one type and size, some thousand at a time."""
    records = _Records(content)
    for (kind, payload_size), group in groupby(records, key=lambda record: (record[0], len(record[2]))):
        if kind in (PACKED, PLAIN) and payload_size > 1:  # one byte: the moment of plugging in (Activity2.md)
            while some := list(islice(group, SECONDS_AT_A_TIME)):
                piece, impossible = _samples(kind, some, info)
                records.damaged += impossible
                yield piece
    tally.add("damaged blocks", records.damaged, "places in the log")


class _Content:
    """A member of the archive, piece by piece, up to the first byte that cannot be unpacked."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.trouble = ""

    def read(self) -> bytes:
        """Up to PIECE_BYTES bytes; empty at the end, or where the archive is damaged."""
        if self.trouble:
            return b""
        try:
            return self._file.read(PIECE_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            self.trouble = str(error) or "cut off"
            return b""

    def count_in(self, tally: Tally, name: str) -> None:
        """Say where the member is damaged."""
        tally.add("cut end", int(bool(self.trouble)), f"{name} cannot be unpacked from there on: {self.trouble}")


class _Records:
    """The sound records of a log, (type, UNIX seconds, payload) each, in runs of at most a piece."""

    def __init__(self, content: _Content) -> None:
        self.damaged = 0
        self._content = content

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        rest = b""
        while piece := self._content.read():
            data = rest + piece
            used = yield from self._sound(data, last=False)
            rest = data[used:]
        yield from self._sound(rest, last=True)

    def _sound(self, data: bytes, last: bool) -> Generator[tuple[int, int, bytes], None, int]:
        """Records in `data`; returns how many bytes are done with. A record cut by the end waits for more."""
        numbers = np.frombuffer(data, np.uint8)
        position = 0
        while (start := data.find(SEPARATOR, position)) >= 0:
            # Zero bytes between records are no damage (ActiGraph's document says so).
            self.damaged += any(data[position:start])
            stop = start + HEAD_SIZE + int.from_bytes(data[start + 6 : start + HEAD_SIZE], "little") + 1
            if stop > len(data) and not last:
                return start
            # The XOR of everything with its one's complement is all ones.
            if stop > len(data) or np.bitwise_xor.reduce(numbers[start:stop]) != 0xFF:
                position = start + 1
                self.damaged += 1
                continue
            yield data[start + 1], int.from_bytes(data[start + 2 : start + 6], "little"), data[start + 8 : stop - 1]
            position = stop
        self.damaged += any(data[position:])
        return len(data)


def _samples(kind: int, records: list[tuple[int, int, bytes]], info: Info) -> tuple[Piece, int]:
    """Records of one type and size, which are seconds of equally many samples; and how many of them were impossible."""
    payload = np.frombuffer(b"".join(record[2] for record in records), np.uint8).reshape(len(records), -1)
    counts = unpack(payload) if kind == PACKED else payload[:, : payload.shape[1] // 6 * 6].copy().view("<i2")
    seconds = np.array([record[1] for record in records], np.float64)
    since = seconds - info.start
    possible = (since >= PLAUSIBLE_SECONDS[0]) & (since <= PLAUSIBLE_SECONDS[1])
    possible &= (np.abs(counts.astype(np.int32)) <= MOST_OF_RANGE * info.range_g * info.scale).all(axis=1)
    seconds, counts = seconds[possible], counts[possible]
    per_second = counts.shape[1] // 3
    # A second with more samples than its nominal number is still a second.
    times = seconds[:, None] + np.arange(per_second) / max(info.rate, per_second)
    piece = Piece(times.ravel(), (counts.reshape(-1, 3) / np.float32(info.scale)).astype(np.float32))
    return piece, len(records) - len(seconds)


def _old_samples(content: _Content, info: Info) -> Iterator[Piece]:
    """activity.bin: one stream of packed samples from the start on, two in every nine bytes."""
    done = 0
    rest = b""
    while piece := content.read():
        data = rest + piece
        # The last sample of all may end within a byte, and within nine.
        stop = len(data) // 9 * 9 if len(piece) == PIECE_BYTES else len(data)
        rest = data[stop:]
        counts = unpack(np.frombuffer(data[:stop], np.uint8).reshape(1, -1)).reshape(-1, 3)
        times = info.start + np.arange(done, done + len(counts)) / info.rate
        yield Piece(times, (counts / np.float32(info.scale)).astype(np.float32))
        done += len(counts)


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(rows, bytes) of big-endian 12-bit numbers in the order y x z → (rows, 3 · samples) in the order x y z."""
    samples = packed.shape[1] * 2 // 9
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 3))).astype(np.int16)
    first, second, third = (padded[:, index::3] for index in range(3))
    pairs = np.stack([first << 4 | second >> 4, (second & 0xF) << 8 | third], axis=-1)
    values = pairs.reshape(len(packed), -1)[:, : 3 * samples]
    signed = (values ^ 0x800) - 0x800
    return signed.reshape(len(packed), samples, 3)[:, :, [1, 0, 2]].reshape(len(packed), -1)
