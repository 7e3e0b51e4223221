"""NHANES 2011-2014 raw accelerometry (PAX80_G, PAX80_H): per participant a tar of hourly text files at 80 Hz.

Layout: the National Center for Health Statistics' documentation of PAX80_G and PAX80_H. Hourly files are named
`GT3XPLUS-AccelerationCalibrated-[firmware].[sensor].[YYYY-MM-DD-HH-MM-SS]-000-P0000.sensor.csv.gz` and have the columns
HEADER_TIMESTAMP,X,Y,Z in g; `[SEQN]_Logs.csv` lists the ranges that the agency's quality checks flagged. Dates were
shifted to the first week of January 2000, keeping the day of the week.
"""

import re
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_shards.readers.absurd import without_absurd
from data_shards.readers.containers import open_tar
from data_shards.readers.device_reader import DeviceReader, Found, ReadOptions
from data_shards.readers.nhanes_rows import parse_hour
from data_shards.readers.oddities import REPAIR_SHARE, Kind, Tally
from data_shards.readers.order import in_time
from data_shards.readers.samples import forward
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

RATE = 80.0
RANGE_G = 6.0
"""Values from -6.006 to 6.006 occur, "typically" ±6.000 (the data documentation)."""
SAMPLES_PER_HOUR = 288_000
MAX_HOUR_BYTES = 64 << 20
"""Five times an hour of text; a member that decompresses to more is damaged or a decompression bomb."""
MAX_HOURS = 1000
"""Five times the actual maximum of 194."""
MAX_MEMBERS = 10_000
"""tarfile remembers every member, in half a kilobyte."""
GZIP = 16 + zlib.MAX_WBITS
"""zlib's code for the gzip format."""
TAR_BLOCK = 512
TAR_MAGIC = slice(257, 262)
NAMES = (b"GT3XPLUS-AccelerationCalibrated-", b"_Logs.csv")

_HOUR = re.compile(
    r"GT3XPLUS-AccelerationCalibrated-([0-9x]+)\.([A-Z0-9]+)\.(\d{4}(?:-\d\d){5})-\d{3}-P\d{4}\.sensor\.csv(\.gz)?"
)
_SEQN = re.compile(r"(?:^|/)(\d{5})(?=/|_Logs\.csv)")
"""Participants by their folders and lists."""
_LOGS = re.compile(r"\d+_Logs\.csv(\.gz)?")


@dataclass(frozen=True)
class Hours:
    """Contents of a tar, going by the names of its members; nothing is ever written to a path that they contain."""

    members: tuple[tuple[tarfile.TarInfo, ...], ...]
    """Hourly files in the order of their first sample; if an hour occurs more than once, all of its files."""
    logs: tarfile.TarInfo | None
    """The agency's list of flagged ranges, if there is one."""
    whole: bool
    """Whether the tar has its end marker; otherwise hours may be missing at the end."""
    sensor: str
    """Serial number of the device."""
    firmware: str
    """Firmware version, such as 2.5.0."""


class Nhanes(DeviceReader):
    """Reader of NHANES tars; the participant is the sequence number (SEQN) in the name of the tar."""

    kind = "NHANES 2011-2014 tar of hourly .sensor.csv.gz"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """A tar with one of the expected names among its first members."""
        return head[TAR_MAGIC] == b"ustar" and any(name in head for name in NAMES)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording, read hour by hour. Raises `HarnetError` if no hour can be read."""
        tally = Tally(path)
        try:
            with open_tar(path) as archive:
                hours = _hours(archive, path)
                flagged = _flagged(archive, hours.logs)
                recording = Recording(
                    pieces=forward(_pieces(archive, hours, flagged, tally), tally, RATE),
                    nominal_rate=RATE,
                    device="ActiGraph GT3X+",
                    clock="local",
                    range_g=RANGE_G,
                    notes=tally.notes,
                    metadata={"device_id": hours.sensor, "firmware": hours.firmware}
                    | ({} if flagged is None else {"flagged_ranges": flagged}),
                )
                yield Found(recording, label=path.stem, participant=path.stem)
        except (tarfile.TarError, OverflowError) as error:
            raise HarnetError(f"{path}: the tar is damaged ({error}): download it again") from error


def _pieces(archive: tarfile.TarFile, hours: Hours, flagged: int | None, tally: Tally) -> Iterator[SampleChunk]:
    """The samples, an hour at a time; damaged hours are counted."""
    damaged = []
    for copies in hours.members:
        for number, member in enumerate(copies):
            piece, trouble = _hour(archive, member, tally)
            if not trouble:
                tally.add("repeated blocks", len(copies) - 1 - number, "hours")
                break
        else:
            damaged.append(trouble)
        yield piece
    if len(damaged) == len(hours.members):
        raise HarnetError(f"{tally.named}: none of {len(damaged)} hours is intact ({damaged[0]}): download it again")
    tally.add("damaged blocks", len(damaged), f"hours, of {len(hours.members)}; {''.join(damaged[:1])}")
    tally.add("cut end", int(not hours.whole), "after the last readable member: hours may be missing")
    tally.add("damaged blocks", int(flagged is None), "the list of ranges flagged by NHANES")
    tally.add("flagged ranges", flagged or 0, "by NHANES")


def _hours(archive: tarfile.TarFile, path: Path) -> Hours:
    """List the members. Raises `HarnetError` if there are none, too many, or those of two people or devices."""
    found: dict[str, list[tuple[tarfile.TarInfo, re.Match[str]]]] = {}
    count = 0
    people: set[str] = set()
    logs = None
    end = 0
    for number, member in enumerate(_members(archive)):
        end = member.offset_data + -(-member.size // TAR_BLOCK) * TAR_BLOCK
        name = member.name.rsplit("/", 1)[-1]
        if not member.isreg():
            continue
        people.update(_SEQN.findall(member.name))
        if match := _HOUR.fullmatch(name):
            found.setdefault(match[3], []).append((member, match))
            count += 1
        elif _LOGS.fullmatch(name):
            logs = member
        if count > MAX_HOURS or number >= MAX_MEMBERS:
            most = f"{MAX_HOURS:,} hourly files" if count > MAX_HOURS else f"{MAX_MEMBERS:,} files"
            raise HarnetError(f"{path}: more than {most} in one tar: pass one tar per participant")
    if not found:
        raise HarnetError(f"{path}: a tar without files called GT3XPLUS-AccelerationCalibrated-*.sensor.csv.gz")
    with path.open("rb") as file:
        file.seek(end)
        whole = file.read(TAR_BLOCK) == bytes(TAR_BLOCK)
    _refuse_several(people, sorted({match[2] for copies in found.values() for _, match in copies}), path)
    ordered = [found[start] for start in sorted(found)]
    first = ordered[0][0][1]
    return Hours(
        members=tuple(tuple(member for member, _ in copies) for copies in ordered),
        logs=logs,
        whole=whole,
        sensor=first[2],
        firmware=first[1].replace("x", "."),
    )


def _refuse_several(people: Collection[str], sensors: Sequence[str], path: Path) -> None:
    """Raise `HarnetError` if there are hours of two people or devices."""
    if len(people) > 1:
        raise HarnetError(f"{path}: files of {len(people)} participants in one tar: pass one tar per participant")
    if len(sensors) > 1:
        raise HarnetError(
            f"{path}: hours of {len(sensors)} devices ({', '.join(sensors[:3])}) in one tar: pass one tar per "
            "participant"
        )


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members up to the end, or to where the tar is truncated; tarfile distinguishes these only in some cases."""
    try:
        yield from archive
    except (tarfile.TarError, OverflowError):  # the latter for a size beyond 64 bits
        return


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[bytes, bool]:
    """A member's decompressed content, and whether it is complete.

    Raises:
        ValueError: the content is too large. For damage, whatever zlib and tarfile raise.
    """
    raw = archive.extractfile(member)
    assert raw is not None  # a regular file
    if member.size > MAX_HOUR_BYTES:
        raise ValueError(f"more than {MAX_HOUR_BYTES >> 20} MiB")
    with raw:
        packed = raw.read()
    if not member.name.endswith(".gz"):
        return packed, len(packed) == member.size
    content = bytearray()
    whole = True
    while packed:  # RFC 1952 allows several streams in sequence
        stream = zlib.decompressobj(GZIP)
        content += stream.decompress(packed, MAX_HOUR_BYTES + 1 - len(content))
        if len(content) > MAX_HOUR_BYTES:
            raise ValueError(f"more than {MAX_HOUR_BYTES >> 20} MiB")
        packed, whole = stream.unused_data, stream.eof
    return bytes(content), whole


def _hour(archive: tarfile.TarFile, member: tarfile.TarInfo, tally: Tally) -> tuple[SampleChunk, str]:
    """Samples in one hourly file; none, and the reason, if it is unusable."""
    nothing = SampleChunk(np.empty(0), np.empty((0, 3), np.float32))
    match = _HOUR.fullmatch(member.name.rsplit("/", 1)[-1])
    assert match is not None
    try:
        content, whole = _content(archive, member)
        milliseconds, acceleration, foreign = parse_hour(content[: len(content) if whole else content.rfind(b"\n") + 1])
        odd, kept = _odd_rows(milliseconds, acceleration, _milliseconds(match[3]))
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk, not of the content
        return nothing, f"{match[3]}: {' '.join(str(error).split())[:80]}"
    if len(milliseconds) > SAMPLES_PER_HOUR * 2:
        return nothing, f"{len(milliseconds)} samples in one hour"
    odd["foreign lines"] = foreign
    for kind, count in odd.items():
        tally.add(kind, count, f"rows of {match[3]}")
    tally.add("cut end", int(not whole), f"hour {match[3]}")
    return SampleChunk(*without_absurd(on_grid(milliseconds[kept]), acceleration[kept], RANGE_G, tally)), ""


def _odd_rows(
    milliseconds: NDArray[np.int64], acceleration: NDArray[np.float32], start: int
) -> tuple[dict[Kind, int], NDArray[np.bool_]]:
    """Count the rows of an hour to leave out; returns (n,) True for the others. `ValueError` if there are too many."""
    kept = np.asarray(np.isfinite(acceleration).all(axis=1), np.bool_)
    odd: dict[Kind, int] = {"missing values": int((~kept).sum())}
    again = np.zeros(len(kept), np.bool_)
    again[1:] = (np.diff(milliseconds) == 0) & (acceleration[1:] == acceleration[:-1]).all(axis=1)
    odd["repeated blocks"] = int((kept & again).sum())
    kept &= ~again
    if (np.diff(milliseconds[kept]) == 0).sum() > len(kept) / 2:
        raise ValueError("times without fractions of a second")
    within = (milliseconds >= start - 1000) & (milliseconds <= start + 3_601_000)  # names are to the second
    within[kept & within] = in_time(milliseconds[kept & within].astype(np.float64))
    odd["isolated stamps"] = int((kept & ~within).sum())
    if max(odd["missing values"], odd["isolated stamps"]) > max(1, REPAIR_SHARE * len(kept)):
        raise ValueError("empty cells" if odd["missing values"] > odd["isolated stamps"] else "stamps of other hours")
    return odd, kept & within


def _milliseconds(written: str) -> int:
    """Milliseconds since 1970 of a time such as `2000-01-06-12-30-00`."""
    date, clock = written[:10], written[11:].replace("-", ":")
    return int(np.datetime64(f"{date}T{clock}", "ms").astype(np.int64))


def on_grid(milliseconds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Times in seconds, with the rounding to milliseconds undone: 12.5 ms is written as 12 or 13.

    This requires every time to be within 1 ms of a different multiple of 1/80 s; otherwise times are left as written.
    """
    ticks = np.rint(milliseconds * (RATE / 1000))
    exact = ticks / RATE
    near = np.abs(exact * 1000 - milliseconds) <= 1
    return exact if near.all() and (np.diff(ticks) > 0).all() else milliseconds / 1000


def _flagged(archive: tarfile.TarFile, logs: tarfile.TarInfo | None) -> int | None:
    """How many ranges the agency flagged; 0 if there is no list, None if it cannot be read."""
    if logs is None:
        return 0
    try:
        lines = _content(archive, logs)[0].decode("utf-8-sig").splitlines()[1:]
    except (tarfile.TarError, EOFError, zlib.error, ValueError):
        return None
    return sum(bool(line.replace(",", "").replace('"', "").strip()) for line in lines)
