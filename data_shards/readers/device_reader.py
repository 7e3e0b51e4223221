"""What a device reader is: the interface that each file in this folder fills."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_shards.recording import Loaded, Recording, SampleChunk
from harnet.errors import HarnetError

HEAD_BYTES = 4096
"""How much of a file is read to tell its kind."""

Units = Literal["g", "m/s2", "mg"]

PER_G: dict[Units, float] = {"g": 1.0, "m/s2": 9.80665, "mg": 1000.0}
"""How many of each unit make one g (standard gravity: 3rd CGPM, 1901)."""


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about files that do not say it themselves; device formats ignore it."""

    columns: tuple[str, str, str, str] = ("time", "x", "y", "z")
    """Names of a table's columns, or their numbers from 1: time and the three axes."""
    units: Units = "g"
    """Unit of a table's acceleration. Device formats fix theirs and are never converted twice."""
    rate: float | None = None
    """Samples per second of a table whose stamps are shared by many samples and do not tell it; None: they do."""
    day_first: bool = False
    """Whether a table's dates such as 05/06/2024 begin with the day."""
    timezone: str | None = None
    """Where the wearers were; tells when a table's local times went back by an hour."""


@dataclass(frozen=True)
class Found:
    """One recording found in a file."""

    recording: Recording
    """The signal with its times."""
    label: str
    """What tells this recording from others: the file's stem, or a name made from what is inside."""
    participant: str | None = None
    """Pseudonym given inside the file; None where only the file's name tells."""


@dataclass(frozen=True)
class FoundLoaded:
    """The same in memory."""

    recording: Loaded
    """As in `Found`."""
    label: str
    """As in `Found`."""
    participant: str | None
    """As in `Found`."""


class DeviceReader(ABC):
    """Reads the files of one kind of device, which it knows by their first bytes, never by their name."""

    kind: str
    """For people, such as "Axivity .cwa"."""

    @abstractmethod
    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """Whether a file that begins with `head` (up to HEAD_BYTES) is of this kind."""

    @abstractmethod
    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the recordings in the file, one at a time; `HarnetError` where it cannot be read.

        The samples of one are read before the next is asked for. Damage is left out and noted in the recording where
        the rest can be trusted. Every message begins with `path`.
        """

    def label(self, path: Path) -> str | None:
        """The label of the one recording in the file, known without reading it; None if the file holds many."""
        return path.stem

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """Those options that change what is read, for the record kept with the data."""
        return {}


class Unusable(HarnetError):
    """Of a file that holds recordings for certain, and cannot be read: it is refused in a folder, too, not skipped."""


@contextmanager
def speaking_of(path: Path, inner: Path) -> Iterator[None]:
    """Errors about `inner`, a temporary copy, name the file that the user gave, `path`."""
    try:
        yield
    except HarnetError as error:
        raise HarnetError(f"{path}{str(error).removeprefix(str(inner))}") from error


def pieces_of(path: Path, inner: Path, pieces: Iterator[SampleChunk]) -> Iterator[SampleChunk]:
    """The same pieces, whose errors about `inner` name `path`."""
    with speaking_of(path, inner):
        yield from pieces
