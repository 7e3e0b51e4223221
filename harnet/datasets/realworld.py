"""RealWorld 2016 (Sztyler and Stuckenschmidt, PerCom 2016): phone on the forearm, about 50 Hz, 15 people, 8 activities.

`proband<n>/data/acc_<activity>_csv.zip` contains `acc_<activity>[_part]_forearm.csv`, or nested archives if an activity
was recorded in parts. Columns id,attr_time,attr_x,attr_y,attr_z: time in ms, acceleration in m/s².
Unpacked files can be read as well as archives.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harnet.datasets.cutting import STANDARD_GRAVITY, WindowCutting, Windows, on_a_grid, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

ACTIVITIES = ("climbingdown", "climbingup", "jumping", "lying", "running", "sitting", "standing", "walking")
PEOPLE = 15
RATE = 50
LONGEST_GAP = 0.5
"""Longest gap within a stretch, in seconds; our choice."""
HEADER = "id,attr_time,attr_x,attr_y,attr_z"
LARGEST = 1 << 30
"""Maximum size in bytes of an archive member; the largest real one is a hundredth of it."""

_PERSON = re.compile(r"proband(\d+)")
_TABLE = re.compile(r"acc_([a-z]+)(?:_\d+)?_forearm\.csv")


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows of the forearm; HarnetError for a damaged archive or a malformed table."""
    made = Windows(cutting, ACTIVITIES)
    people = set()
    for home in sorted(path for path in folder.rglob("proband*") if path.is_dir() and _PERSON.fullmatch(path.name)):
        for where, activity, text in _tables(home):
            times, signal = _parse(text, where)
            for part in stretches(times, LONGEST_GAP):
                if part.stop - part.start > 1:
                    made.add(home.name, on_a_grid(times[part], signal[part], RATE), ACTIVITIES.index(activity), RATE)
        people.add(home.name)
    notes = [f"folders of {len(people)} people; the complete data set has {PEOPLE}"] if 0 < len(people) < PEOPLE else []
    return made.finish(str(folder), "proband<n>/data/acc_<activity>_csv.zip of RealWorld 2016", notes)


def _tables(home: Path) -> Iterator[tuple[str, str, bytes]]:
    """Location, activity and content of each forearm table."""
    for path in sorted(home.rglob("acc_*.csv")):
        if (match := _TABLE.fullmatch(path.name)) and match[1] in ACTIVITIES:
            yield str(path), match[1], path.read_bytes()
    for path in sorted(home.rglob("acc_*.zip")):
        yield from _unpacked(path.read_bytes(), str(path), 1)


def _unpacked(content: bytes, where: str, deeper: int) -> Iterator[tuple[str, str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                name = member.filename.rsplit("/", 1)[-1]
                match = _TABLE.fullmatch(name)
                nested = name.endswith(".zip") and deeper > 0
                if not nested and not (match and match[1] in ACTIVITIES):
                    continue
                if member.file_size > LARGEST:
                    raise HarnetError(f"{where}: {name} claims {member.file_size:,} bytes: fetch it again")
                inner = f"{where}: {name}"
                if nested:
                    yield from _unpacked(archive.read(member), inner, deeper - 1)
                else:
                    assert match is not None
                    yield inner, match[1], archive.read(member)
    except (zipfile.BadZipFile, EOFError) as error:
        raise HarnetError(f"{where}: not a complete zip archive ({error}): fetch it again") from error


def _parse(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) in seconds and acceleration (n, 3) in g."""
    lines = io.StringIO(content.decode("utf-8", "replace"))
    if lines.readline().strip() != HEADER:
        raise HarnetError(f"{where}: expected the columns {HEADER}")
    try:
        table = np.loadtxt(lines, delimiter=",", usecols=(1, 2, 3, 4), ndmin=2)
    except (ValueError, IndexError) as error:
        raise HarnetError(f"{where}: expected five numbers per line ({error})") from error
    if table.shape[1] != 4 or not len(table):
        raise HarnetError(f"{where}: contains no samples: fetch it again")
    return table[:, 0] / 1000, table[:, 1:] / STANDARD_GRAVITY
