"""The seal of a stored recording: checksums that detect changed, lost or foreign files.

Every chunk of signal, motion and wear ends with a CRC-32C (one of Zarr's codecs), which is checked when it is decoded.
The seal covers the rest. It is an attribute of the recording's group: size and xxh3-128 of every other file, and the
xxh3-128 of the values of `zarr.json` in canonical JSON. Stores from older versions have neither and can still be read.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import xxhash

from harnet.errors import HarnetError

ATTRIBUTE = "harnet_seal"
METADATA = "zarr.json"

_PIECE = 1 << 20
REMEDY = "copy the recording again from an intact store, or delete its folder and ingest the file again"
"""Advice for a damaged recording."""


@dataclass(frozen=True)
class Group:
    """A verified `zarr.json` of a recording."""

    attributes: Mapping[str, Any]
    """Metadata of the recording, without the seal."""
    files: Mapping[str, tuple[int, str]] | None
    """Path in the group -> size and xxh3-128, for every other file; None if there is no seal."""


def seal(folder: Path) -> None:
    """Seal the complete recording in `folder`; not yet fsynced."""
    path = folder / METADATA
    document = json.loads(path.read_bytes())
    files = {name: list(size_and_hash(folder / name)) for name in files_of_group(folder)}
    document["attributes"][ATTRIBUTE] = {"files": files}
    document["attributes"][ATTRIBUTE]["xxh3"] = _digest(document)
    path.write_text(json.dumps(document, indent=2))


def read(folder: Path) -> Group:
    """Attributes of a group, verified against the seal if there is one.

    Read as plain JSON: Zarr takes many times as long, and a cohort has 100,000 groups.

    Raises:
        HarnetError: there is no group, or it is damaged.
    """
    path = folder / METADATA
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise HarnetError(f"{folder}: not part of a cohort store: pass the folder that `harnet ingest` wrote") from None
    except ValueError as error:
        raise HarnetError(f"{path}: damaged ({error}): {REMEDY}") from error
    attributes = document.get("attributes") if isinstance(document, dict) else None
    attributes = attributes if isinstance(attributes, dict) else {}
    if ATTRIBUTE not in attributes:
        return Group(attributes, None)
    try:
        expected = attributes[ATTRIBUTE].pop("xxh3")
        sound = _digest(document) == expected
        files = {str(name): (int(size), str(xxh3)) for name, (size, xxh3) in attributes[ATTRIBUTE]["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise HarnetError(f"{path}: damaged (its values do not match the seal): {REMEDY}")
    return Group({name: value for name, value in attributes.items() if name != ATTRIBUTE}, files)


def refuse_if_incomplete(folder: Path, group: Group) -> None:
    """Check the size of every file, because Zarr reads a missing chunk as missing data.

    Raises:
        HarnetError: a file is missing or has the wrong size.
    """
    for name, (size, _) in (group.files or {}).items():
        try:
            found = os.stat(folder / name).st_size
        except FileNotFoundError:
            raise HarnetError(f"{folder / name}: missing: {REMEDY}") from None
        if found != size:
            raise damaged(folder / name, f"{found} bytes, expected {size}")


def damaged(where: Path | str, what: object) -> HarnetError:
    """The error for a damaged file or array of a recording."""
    return HarnetError(f"{where}: damaged ({what}): {REMEDY}")


def files_of_group(folder: Path) -> list[str]:
    """Relative paths of all files of a group except its `zarr.json`, sorted."""
    # Entry types come from the directory listing, without a stat per file.
    found = (os.path.join(below, name) for below, _, names in os.walk(folder) for name in names)
    return sorted(name for path in found if (name := os.path.relpath(path, folder)) != METADATA)


def size_and_hash(path: Path) -> tuple[int, str]:
    """Size and xxh3-128 of a file."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        for piece in iter(partial(file.read, _PIECE), b""):
            digest.update(piece)
        return file.tell(), digest.hexdigest()


def _digest(document: Any) -> str:
    """Digest of the values of a JSON document, independent of its formatting."""
    return xxhash.xxh3_128_hexdigest(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
