"""Downloading data sets: resumable, verified by checksum, and unpacked without trusting paths in the archive."""

import hashlib
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from harnet.datasets.registry import DataSet
from harnet.errors import HarnetError
from harnet.files import publish, write_atomically
from harnet.progress import bar

_CHUNK = 1 << 20
_SECONDS = 60
SUM = "download.sha256"
"""File beside the archive, for `sha256sum -c`."""
LARGEST_RATIO = 200
"""Maximum compression ratio: a guard against zip bombs. Text files of samples reach about 20."""


def fetch(found: DataSet, out: Path, sha256: str = "") -> Path:
    """Download and unpack a data set into `out/raw`; returns that folder.

    `sha256`, if given, must match the archive. The digest is always recorded in `out/download.sha256`, and an archive
    that was already downloaded must still match it. HarnetError if the data set must be requested from its owner, if
    the download fails, or if the archive is damaged or has another digest.
    """
    if not found.url:
        raise HarnetError(f"{found.name}: not downloaded automatically ({found.licence}): {found.ask}; "
                          f"then: harnet dataset windows {found.name} FOLDER --out labelled/{found.name}")  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    archive, raw = out / f"{found.name}.zip", out / "raw"
    if not archive.exists():
        _download(found.url, archive)
    digest = _digest(archive)
    _check(archive, digest, sha256)
    if not raw.exists():
        temporary = out / ".raw.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        _unpack(archive, temporary, deeper=1)
        publish(temporary, raw)
    return raw


def _download(url: str, final: Path) -> None:
    part = final.with_suffix(".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            # A server without support for range requests sends the whole file again.
            continued = answer.status == 206
            length = answer.headers.get("Content-Length")
            have = have if continued else 0
            total = have + int(length) if length else None
            with part.open("ab" if continued else "wb") as file, bar(total, final.name, "B", have) as shown:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    shown.update(len(chunk))
        if total is not None and part.stat().st_size != total:
            raise HarnetError(f"{url}: ended after {part.stat().st_size:,} of {total:,} bytes: the same command "
                              "resumes it")  # fmt: skip
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise HarnetError(f"{url}: the server returned {error.code}: check the data set's web page") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise HarnetError(f"{url}: cannot be reached ({error}): try again, the partial download is kept") from error
    publish(part, final)


def _digest(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(archive: Path, digest: str, wanted: str) -> None:
    record = archive.parent / SUM
    before = record.read_text().split()[0] if record.exists() else ""
    for name, expected in (("--sha256", wanted.lower()), (str(record), before)):
        if expected and digest != expected:
            raise HarnetError(f"{archive}: SHA-256 is {digest}, {name} says {expected}: delete it and fetch it again")
    write_atomically(record, f"{digest}  {archive.name}\n")


def _unpack(archive: Path, folder: Path, deeper: int) -> None:
    """Unpack a zip archive and, `deeper` levels down, the zip archives in it, as UCI packs them."""
    try:
        with zipfile.ZipFile(archive) as opened:
            total = sum(member.file_size for member in opened.infolist())
            if total > LARGEST_RATIO * archive.stat().st_size:
                raise HarnetError(f"{archive}: claims to unpack to {total:,} bytes, which is implausible: not unpacked")
            for member in opened.infolist():
                path = PurePosixPath(member.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
                    raise HarnetError(f"{archive}: contains the unsafe path {member.filename!r}: not unpacked")
                opened.extract(member, folder)
    except (zipfile.BadZipFile, EOFError) as error:
        raise HarnetError(f"{archive}: not a complete zip archive ({error}): delete it and fetch it again") from error
    if deeper:
        for inner in sorted(folder.glob("*.zip")):
            _unpack(inner, inner.with_suffix(""), deeper - 1)
            inner.unlink()
