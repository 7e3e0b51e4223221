"""Reading the files of a bundle from a local folder or a URL, each verified against SHA256SUMS before use."""

import hashlib
import re
from pathlib import Path
from typing import Protocol

import fsspec

from harnet.errors import HarnetError
from harnet.redaction import redacted
from harnet.weights.bundle_files import CONFIG, SUMS
from harnet.weights.model_hub import HubId, snapshot
from harnet.weights.packaged import model_names, packaged

_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
_PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
"""Relative path of a file that cannot escape the folder."""


class BundleSource(Protocol):
    """Location of a bundle."""

    def where(self, name: str) -> str:
        """Path or URL of a file, for messages."""

    def read(self, name: str) -> bytes:
        """Content of a file; HarnetError if it cannot be read."""


class LocalFolder:
    """A folder on this machine. Never touches the network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise HarnetError(
                f"weights {str(folder)!r}: no such folder, and no model that comes with harnet "
                f"({', '.join(model_names()) or 'none'}); pass one of these, a local folder of exported "
                "weights, its URL, a published checkpoint (.mdl) or a name on the Hugging Face Hub (ORGANISATION/NAME)"
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
            raise HarnetError(f"{path}: missing: the folder is not a bundle of weights, or is incomplete") from error
        except OSError as error:
            raise HarnetError(f"{path}: cannot be read ({error.strerror}): check the file's permissions") from error


class RemoteFolder:
    """A folder at a URL of any protocol that fsspec supports."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def where(self, name: str) -> str:
        """URL of the file, with passwords and tokens masked."""
        return redacted(f"{self.url}/{name}")

    def read(self, name: str) -> bytes:
        """Content of the file, over the network if the protocol needs it."""
        # Exceptions of fsspec are never chained: they may contain the full URL.
        url = self.where(name)
        try:
            with fsspec.open(f"{self.url}/{name}", "rb") as file:
                return bytes(file.read())
        except FileNotFoundError:
            raise HarnetError(f"{url}: missing: the URL is not a bundle of weights, or is incomplete") from None
        except ImportError as error:
            raise HarnetError(f"{url}: needs another package ({error})") from None
        except Exception as error:
            # fsspec's many backends raise exceptions of their own.
            reason = redacted(" ".join(str(error).split())) or type(error).__name__
            raise HarnetError(f"{url}: cannot be read ({reason}): check the URL") from None


def open_source(source: str | Path, download: bool = False) -> BundleSource:
    """Open a bundle at a URL, at a local path, or under the name of a packaged model or a Hugging Face Hub id.

    A path that exists takes precedence over a model of the same name. A string that contains "://" is a URL. The
    network is used for URLs, and for Hub ids only with `download`; otherwise a Hub id is looked up in the local cache.
    HarnetError if there is no such bundle.
    """
    if isinstance(source, str) and "://" in source:
        return RemoteFolder(source)
    path = Path(source).expanduser()
    if isinstance(source, str) and not path.exists():
        if (folder := packaged(source)) is not None:
            return LocalFolder(folder)
        if (found := HubId.parse(source)) is not None:
            return LocalFolder(snapshot(found, download))
    return LocalFolder(path)


def listed_files(source: BundleSource) -> list[str]:
    """File names in SHA256SUMS, in order."""
    return list(_sums(source))


def read_checked(source: BundleSource, name: str) -> bytes:
    """Content of `name`; HarnetError if SHA256SUMS is missing, does not list it, or its digest does not match."""
    # The config makes a folder a bundle, so it is read first: its absence is the more helpful error.
    content = source.read(name) if name == CONFIG else None
    sums = _sums(source)
    if name not in sums:
        raise HarnetError(f"{source.where(SUMS)}: does not list {name}: damaged, fetch the folder again")
    content = source.read(name) if content is None else content
    found = hashlib.sha256(content).hexdigest()
    if found != sums[name]:
        raise HarnetError(
            f"{source.where(name)}: SHA-256 {found[:12]}…, expected {sums[name][:12]}… ({len(content):,} bytes): "
            "damaged or modified, fetch the folder again"
        )
    return content


def _sums(source: BundleSource) -> dict[str, str]:
    """File name -> SHA-256. HarnetError if SHA256SUMS is missing or damaged, or a name leads out of the folder."""
    where = source.where(SUMS)
    try:
        sums = {name: digest for digest, name in _SUM_LINE.findall(source.read(SUMS).decode())}
    except UnicodeDecodeError:
        raise HarnetError(f"{where}: not text: damaged, fetch the folder again") from None
    for name in sums:
        if not _PLAIN.fullmatch(name):
            raise HarnetError(f"{where}: lists {name!r}, which is not inside the folder: do not use these weights")
    return sums
