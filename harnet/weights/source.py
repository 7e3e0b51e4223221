"""Reading a bundle's files from a local folder or a URL, each checked against SHA256SUMS before it is used."""

import hashlib
import re
from pathlib import Path
from typing import Protocol

import fsspec

from harnet.errors import HarnetError
from harnet.weights.model_hub import HubId, snapshot
from harnet.weights.names import CONFIG, SUMS

_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")


class Source(Protocol):
    """Where a bundle lies."""

    def where(self, name: str) -> str:
        """How to name one of its files to a person."""

    def read(self, name: str) -> bytes:
        """The whole of one of its files; HarnetError if it cannot be read."""


class LocalFolder:
    """A folder on this machine. Never touches the network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise HarnetError(
                f"weights {str(folder)!r}: no such folder; pass a local folder of exported weights, its URL, a "
                "published checkpoint (.mdl) or a name on the Hugging Face Hub (ORGANISATION/NAME)"
            )

    def where(self, name: str) -> str:
        """Path of the file."""
        return str(self.folder / name)

    def read(self, name: str) -> bytes:
        """Whole file."""
        path = self.folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise HarnetError(f"{path}: missing: the folder is no bundle of weights, or incomplete") from error
        except OSError as error:
            raise HarnetError(f"{path}: cannot be read ({error.strerror}): check the file's permissions") from error


class RemoteFolder:
    """A folder behind a URL of any protocol that fsspec knows."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def where(self, name: str) -> str:
        """URL of the file."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """Whole file, over the network if the protocol says so."""
        url = self.where(name)
        try:
            with fsspec.open(url, "rb") as file:
                return bytes(file.read())
        except FileNotFoundError as error:
            raise HarnetError(f"{url}: missing: the URL is no bundle of weights, or incomplete") from error
        except ImportError as error:
            raise HarnetError(f"{url}: needs another package ({error})") from error
        except (OSError, ValueError) as error:
            raise HarnetError(f"{url}: cannot be read ({' '.join(str(error).split())}): check the URL") from error


def open_source(source: str | Path, download: bool = False) -> Source:
    """A URL is whatever contains "://"; a name on the Hub is what has the form of one and is no local path.

    The network is used for a URL, and for a name on the Hub only with `download`; else that is looked for in the local
    cache. HarnetError if there is no such thing.
    """
    if isinstance(source, str) and "://" in source:
        return RemoteFolder(source)
    path = Path(source).expanduser()
    if isinstance(source, str) and not path.exists() and (found := HubId.parse(source)) is not None:
        return LocalFolder(snapshot(found, download))
    return LocalFolder(path)


def listed_files(source: Source) -> list[str]:
    """Names of the files that SHA256SUMS lists, in its order."""
    return [name for _, name in _SUM_LINE.findall(source.read(SUMS).decode(errors="replace"))]


def read_checked(source: Source, name: str) -> bytes:
    """The bytes of `name`; HarnetError if SHA256SUMS is missing, does not list it, or says otherwise."""
    # The config is what makes a folder a bundle: a folder without it is named as such, not as one without sums.
    content = source.read(name) if name == CONFIG else None
    try:
        sums = {name: digest for digest, name in _SUM_LINE.findall(source.read(SUMS).decode())}
    except UnicodeDecodeError as error:
        raise HarnetError(f"{source.where(SUMS)}: not text: damaged, fetch the folder again") from error
    if name not in sums:
        raise HarnetError(f"{source.where(SUMS)}: does not list {name}: damaged, fetch the folder again")
    content = source.read(name) if content is None else content
    found = hashlib.sha256(content).hexdigest()
    if found != sums[name]:
        raise HarnetError(
            f"{source.where(name)}: SHA-256 {found[:12]}…, expected {sums[name][:12]}… ({len(content):,} bytes): "
            "damaged or changed, fetch the folder again"
        )
    return content
