"""The interface of device readers, implemented by the modules in this folder."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_shards.recording import Loaded, Recording, SampleChunk
from harnet.errors import HarnetError

HEAD_BYTES = 4096
"""Bytes of a file that are read to recognise its format."""

Units = Literal["g", "m/s2", "mg"]

PER_G: dict[Units, float] = {"g": 1.0, "m/s2": 9.80665, "mg": 1000.0}
"""Units per g (standard gravity: 3rd CGPM, 1901)."""


@dataclass(frozen=True)
class ReadOptions:
    """User-supplied metadata of tables; ignored for device formats."""

    columns: tuple[str, str, str, str] = ("time", "x", "y", "z")
    """Names of a table's columns, or their numbers from 1: time and the three axes."""
    units: Units = "g"
    """Unit of a table's acceleration. Device formats define theirs and are never converted twice."""
    rate: float | None = None
    """Sampling rate in Hz of a table in which many samples share a timestamp; None: found from the timestamps."""
    day_first: bool = False
    """Whether a table's dates such as 05/06/2024 start with the day."""
    timezone: str | None = None
    """Time zone of the wearers; shows when a table's local times went back by an hour."""

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise HarnetError(f"--rate {self.rate:g}: pass the sampling rate in Hz, such as 100")


@dataclass(frozen=True)
class Found:
    """One recording found in a file."""

    recording: Recording
    """The signal with its times."""
    label: str
    """Distinguishes this recording from others: the file's stem, or a name derived from the content."""
    participant: str | None = None
    """Pseudonym stated inside the file; None if only the file's name tells."""


@dataclass(frozen=True)
class FoundLoaded:
    """A recording found in a file, in memory."""

    recording: Loaded
    """As in `Found`."""
    label: str
    """As in `Found`."""
    participant: str | None
    """As in `Found`."""


class DeviceReader(ABC):
    """Reads the files of one kind of device, recognised by their first bytes, never by their name."""

    kind: str
    """Human-readable name, such as "Axivity .cwa"."""

    @abstractmethod
    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """Whether a file that begins with `head` (up to HEAD_BYTES) is of this kind."""

    @abstractmethod
    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the recordings in the file, one at a time; `HarnetError` if it cannot be read.

        The samples of one are read before the next is requested. Damaged parts are dropped and noted in the recording
        if the rest can be trusted. Every message starts with `path`.
        """

    def label(self, path: Path) -> str | None:
        """The label of the only recording in the file, known without reading it; None if there may be several."""
        return path.stem

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """The options that affect what is read, to be stored with the data."""
        return {}


EVIDENT = (".cwa", ".gt3x")
"""Suffixes that only recordings have: such a file is refused, not skipped, if no reader recognises it."""


class Unusable(HarnetError):
    """A file that cannot be read although it holds recordings, or may hold some: an archive that cannot be opened.

    It is refused rather than skipped, in folders too.
    """


@contextmanager
def speaking_of(path: Path, inner: Path) -> Iterator[None]:
    """Make errors about `inner`, a temporary copy, name the user's file, `path`."""
    try:
        yield
    except HarnetError as error:
        if not str(error).startswith(f"{inner}"):
            raise
        raise HarnetError(f"{path}{str(error).removeprefix(str(inner))}") from error


def pieces_of(path: Path, inner: Path, pieces: Iterator[SampleChunk]) -> Iterator[SampleChunk]:
    """The same chunks, with errors about `inner` naming `path`."""
    with speaking_of(path, inner):
        yield from pieces
