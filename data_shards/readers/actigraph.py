"""ActiGraph (.gt3x): a zip archive with info.txt and log.bin; old files (NHANES) have activity.bin instead.

Layout: ActiGraph's documentation, github.com/actigraph/GT3X-File-Format and NHANES-GT3X-File-Format. Of the existing
libraries, the permissively licensed one (actfast 1.3.0) reads no acceleration from these files; ActiGraph's own (pygt3x
0.7.1) is GPL-3, fills idle sleep with repeated values, dates old files to 1990 and needs 1.5 GB for a day at 100 Hz.
So the records, one per second with a checksum, are parsed here.
"""

import errno
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.absurd import MOST_OF_RANGE, without_absurd
from data_shards.readers.actigraph_log import PACKED, PIECE_BYTES, InflatedMember, choose_seconds, read_seconds, unpack
from data_shards.readers.containers import open_zip
from data_shards.readers.device_reader import DeviceReader, Found, ReadOptions, Unusable
from data_shards.readers.oddities import Tally
from data_shards.readers.samples import forward
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

ZIP_START = b"PK\x03\x04"
SIZE_FOLLOWS = 8
"""Zip flag: the member's size follows its data instead of being in its header."""
LOGS = ("log.bin", "activity.bin")
NAMES = (
    *LOGS,
    *("info.txt", "epoch.bin", "gt3xplus.ico", "lux.bin", "battery.bin", "autorun.inf", "firmware.bin", "metadata"),
    *("metadata.json", "log.txt", "eeprom.bin", "ram.bin"),
)
"""Every .gt3x has one of these among its first members."""

RATES = (1.0, 1000.0)
SCALE_LIMITS = (10.0, 1e5)
RANGES_G = (1.0, 100.0)
STARTS = (0.0, 4e9)
"""Plausible values in info.txt: sampling rate, counts per g, range in g, and seconds since 1970 (to 2096)."""
MOST_ABSURD = 0.1
"""Share of out-of-range samples in a second above which the record is considered damaged."""
MAX_BYTES = 4 << 30
"""Maximum size of log.bin, ten times a week at 100 Hz: a guard against zip bombs."""

TICKS_TO_1970 = 621_355_968_000_000_000
TICKS_PER_SECOND = 10_000_000
""".NET ticks (info.txt.md): 100 ns since 0001-01-01."""
SCALES = {"NEO": (341.0, 6.0), "CLE": (341.0, 6.0), "MRA": (341.0, 6.0), "MOS": (256.0, 8.0), "TAS": (256.0, 8.0)}
"""Counts per g and full scale by serial number prefix (Activity2.md), used where info.txt does not state them."""


@dataclass(frozen=True)
class Info:
    """Contents of info.txt."""

    rate: float
    """Samples per second."""
    scale: float
    """Counts per g."""
    range_g: float
    """Full scale in g."""
    start: float
    """Local time of the first sample in an old file, in seconds since 1970."""
    log: str
    """Name of the log in the archive."""
    fields: dict[str, str]
    """All fields. They include the subject's name, so only explicitly named fields are ever used."""

    @property
    def old(self) -> bool:
        """Whether the log contains only samples, without records."""
        return self.log.lower().endswith(LOGS[1])


class ActiGraph(DeviceReader):
    """Reader of .gt3x. Idle sleep mode becomes a gap in time; it is not filled with repeated values."""

    kind = "ActiGraph .gt3x"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """A zip archive with one of the members that every .gt3x has."""
        return any(bare_name(name) in NAMES for name in _first_names(head))

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` if the archive or its info.txt is damaged."""
        tally = Tally(path)
        with ExitStack() as stack:
            with archive_errors(path):
                archive = stack.enter_context(open_zip(path))
                info = _info(archive, path)
            yield Found(_recording(archive, info, tally), label=path.stem)


def _first_names(head: bytes) -> Iterator[str]:
    """Names of a zip archive's first members: those whose headers (APPNOTE.TXT, 4.3.7) are within `head`."""
    at = 0
    while head.startswith(ZIP_START, at) and len(head) >= at + 30:
        flags, packed, length, extra = (
            int.from_bytes(head[at + first : at + last], "little")
            for first, last in ((6, 8), (18, 22), (26, 28), (28, 30))
        )
        yield head[at + 30 : at + 30 + length].decode("utf-8", "replace")
        if flags & SIZE_FOLLOWS and not packed:
            return
        at += 30 + length + extra + packed


def bare_name(member: str) -> str:
    """The name of an archive member in lower case, without its folder."""
    return member.replace("\\", "/").rpartition("/")[2].lower()


@contextmanager
def archive_errors(path: object) -> Iterator[None]:
    """Convert exceptions from a damaged, encrypted or unsupported zip archive to a one-line `Unusable`."""
    try:
        yield
    except HarnetError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        # A damaged directory makes zipfile seek to before the start of the file: "invalid argument", "negative seek".
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise Unusable(f"{path}: the zip archive is damaged or cut off ({error}): copy it again") from error
    except (RuntimeError, NotImplementedError) as error:
        raise Unusable(f"{path}: the zip archive cannot be read ({error}): unpack it manually") from error


def _recording(archive: zipfile.ZipFile, info: Info, tally: Tally) -> Recording:
    return Recording(
        pieces=forward(_pieces(archive, info, tally), tally, info.rate),
        nominal_rate=info.rate,
        device=f"ActiGraph {info.fields.get('Device Type', '')}".strip(),
        clock="local",
        range_g=info.range_g,
        utc_offset=_utc_offset(info.fields.get("TimeZone", "")),
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


def _utc_offset(text: str) -> int | None:
    """Seconds in "-04:00:00" or "-4": the UTC offset of the computer that initialised the device (info.txt.md)."""
    match = re.fullmatch(r"(?:GMT|UTC)?([+-]?)(\d{1,2})(?::?(\d\d)(?::\d\d(?:\.0+)?)?)?", text, re.ASCII)
    if match is None or int(match[2]) > 14:
        return None
    return (-60 if match[1] == "-" else 60) * (60 * int(match[2]) + int(match[3] or 0))


def _info(archive: zipfile.ZipFile, path: Path) -> Info:
    found = _members(archive, path)
    old = found["log"].lower().endswith(LOGS[1])
    with archive.open(found["info"]) as file:
        lines = file.read(1 << 16).decode("utf-8-sig", "replace").splitlines()
    # The first value of a key counts: the subject's name and notes come last, and may have any content.
    pairs = [line.partition(":")[::2] for line in reversed(lines) if ":" in line]
    fields = {key.strip(): value.strip() for key, value in pairs}
    scale, range_g = SCALES.get(fields.get("Serial Number", "")[:3], (0.0, 0.0))
    info = Info(
        rate=_number(fields, "Sample Rate", path),
        scale=_number(fields, "Acceleration Scale", path, scale),
        range_g=_number(fields, "Acceleration Max", path, range_g),
        # Records have times of their own.
        start=(_number(fields, "Start Date", path) - TICKS_TO_1970) / TICKS_PER_SECOND if old else 0.0,
        log=found["log"],
        fields=fields,
    )
    for key, number, (low, high) in (
        ("Sample Rate", info.rate, RATES),
        ("Acceleration Scale", info.scale, SCALE_LIMITS),
        ("Acceleration Max", info.range_g, RANGES_G),
        ("Start Date", info.start, STARTS),
    ):
        if not low <= number <= high:  # True for NaN
            raise HarnetError(
                f"{path}: info.txt gives {fields.get(key, '')!r} as {key!r} for the device "
                f"{fields.get('Serial Number', 'none')}: not usable, export the file again"
            )
    return info


def _number(fields: dict[str, str], key: str, path: Path, default: float | None = None) -> float:
    """Accepts a decimal point or comma: the program that writes the file uses the computer's locale."""
    text = fields.get(key, "")
    if not text and default is not None:
        return default
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise HarnetError(f"{path}: info.txt gives {text!r} as {key!r}: export the file again") from None


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Names of info.txt and of the log; they may be in a folder if the archive was repacked."""
    folders: dict[str, dict[str, str]] = {}
    for name in archive.namelist():
        folder = name.replace("\\", "/").rpartition("/")[0]
        folders.setdefault(folder, {})[bare_name(name)] = name
    found = [members for members in folders.values() if "info.txt" in members]
    found = [members for members in found if members.keys() & {*LOGS}] or found[:1]
    if not found:
        raise HarnetError(f"{path}: a zip archive without info.txt: not a whole .gt3x file")
    if len(found) > 1:
        raise HarnetError(f"{path}: a zip archive with {len(found)} recordings: unpack it, and give each a file")
    log = next((name for name in LOGS if name in found[0]), None)
    if log is None:
        raise HarnetError(f"{path}: a zip archive without log.bin or activity.bin: not a whole .gt3x file")
    return {"info": found[0]["info.txt"], "log": found[0][log]}


def _pieces(archive: zipfile.ZipFile, info: Info, tally: Tally) -> Iterator[SampleChunk]:
    with archive_errors(tally.named):
        size = archive.getinfo(info.log).file_size
        if size > MAX_BYTES:
            name = bare_name(info.log)
            raise HarnetError(
                f"{tally.named}: {name} unpacks to {size >> 20} MiB, more than any device records: exclude it"
            )
        found = False
        for piece in _old_samples(archive, info, tally) if info.old else _seconds(archive, info, tally):
            found = found or len(piece.times) > 0
            yield piece
    if not found:
        harmed = tally.count("damaged blocks") or tally.count("cut end")
        advice = "the log is damaged: copy it again" if harmed else "exclude it"
        raise HarnetError(f"{tally.named}: no second of acceleration in the log: {advice}")


def _seconds(archive: zipfile.ZipFile, info: Info, tally: Tally) -> Iterator[SampleChunk]:
    """Samples in log.bin."""
    with archive.open(info.log) as file:
        seconds = choose_seconds(file, info.rate, tally)
    with archive.open(info.log) as file:
        for kind, times, payloads in read_seconds(file, seconds):
            yield _samples(kind, times, payloads, info, tally)


def _samples(
    kind: int, seconds: NDArray[np.float64], payloads: NDArray[np.uint8], info: Info, tally: Tally
) -> SampleChunk:
    """Decode records of one type and size: seconds with the same number of samples each."""
    counts = unpack(payloads) if kind == PACKED else payloads[:, : payloads.shape[1] // 6 * 6].copy().view("<i2")
    limit = MOST_OF_RANGE * info.range_g * info.scale
    absurd = (np.abs(counts.astype(np.int32)) > limit).reshape(len(counts), -1, 3).any(axis=2).sum(axis=1)
    # A few out-of-range values are a sensor fault; many mean damage that the checksum missed.
    damaged = absurd > max(1, MOST_ABSURD * counts.shape[1] / 3)
    tally.add("damaged blocks", int(damaged.sum()), "places in the log")
    seconds, counts = seconds[~damaged], counts[~damaged]
    per_second = counts.shape[1] // 3
    # A second with more samples than the nominal number still lasts one second.
    times = seconds[:, None] + np.arange(per_second) / max(info.rate, per_second)
    acceleration = (counts.reshape(-1, 3) / np.float32(info.scale)).astype(np.float32)
    return SampleChunk(*without_absurd(times.ravel(), acceleration, info.range_g, tally))


def _old_samples(archive: zipfile.ZipFile, info: Info, tally: Tally) -> Iterator[SampleChunk]:
    """activity.bin: a single stream of packed samples, two in every nine bytes."""
    done = 0
    rest = b""
    with archive.open(info.log) as file:
        content = InflatedMember(file)
        while piece := content.read():
            data = rest + piece
            # The very last sample may end in the middle of a byte, and of a group of nine.
            stop = len(data) // 9 * 9 if len(piece) == PIECE_BYTES else len(data)
            rest = data[stop:]
            counts = unpack(np.frombuffer(data[:stop], np.uint8).reshape(1, -1)).reshape(-1, 3)
            times = info.start + np.arange(done, done + len(counts)) / info.rate
            yield SampleChunk(times, (counts / np.float32(info.scale)).astype(np.float32))
            done += len(counts)
    content.count_in(tally, bare_name(info.log))
