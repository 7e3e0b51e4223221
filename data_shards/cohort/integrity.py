"""The seal of a stored recording: what makes a changed, lost or foreign byte of it known.

Every chunk of the signal, motion and wear ends in a CRC-32C (a codec of Zarr's own), so whoever decodes one has checked
it. The seal covers the rest. It is an attribute of the recording's group: size and xxh3-128 of every other file, and
an xxh3-128 of `zarr.json` itself, as its values are in canonical JSON. Stores from before there were seals have neither
and are still read.
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
REMEDY = "copy the recording again from where it is sound, or remove its folder and ingest the file again"
"""For whoever finds a recording damaged."""


@dataclass(frozen=True)
class Group:
    """A recording's `zarr.json`, found to be as it was written."""

    attributes: Mapping[str, Any]
    """Facts of the recording, without the seal."""
    files: Mapping[str, tuple[int, str]] | None
    """Size and xxh3-128 of every other file, by its path in the group; None if there is no seal."""


def seal(folder: Path) -> None:
    """Seal a recording that is complete in `folder`; not yet flushed to disk."""
    path = folder / METADATA
    document = json.loads(path.read_bytes())
    files = {name: list(fingerprint(folder / name)) for name in files_of_group(folder)}
    document["attributes"][ATTRIBUTE] = {"files": files}
    document["attributes"][ATTRIBUTE]["xxh3"] = _digest(document)
    path.write_text(json.dumps(document, indent=2))


def read(folder: Path) -> Group:
    """A group's attributes, checked against the seal if there is one.

    Read as plain JSON: through the library it takes many times as long, and a cohort has 100,000 of them.

    Raises:
        HarnetError: there is no group, or it is damaged.
    """
    path = folder / METADATA
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise HarnetError(f"{folder}: nothing of a cohort there: give the folder that `harnet ingest` wrote") from None
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
        raise HarnetError(f"{path}: damaged (its values are not those that were sealed): {REMEDY}")
    return Group({name: value for name, value in attributes.items() if name != ATTRIBUTE}, files)


def refuse_if_incomplete(folder: Path, group: Group) -> None:
    """Look at the size of every file: Zarr takes one that is missing for one that holds nothing.

    Raises:
        HarnetError: one is missing or of another size.
    """
    for name, (size, _) in (group.files or {}).items():
        try:
            found = os.stat(folder / name).st_size
        except FileNotFoundError:
            raise HarnetError(f"{folder / name}: missing: {REMEDY}") from None
        if found != size:
            raise damaged(folder / name, f"{found} bytes, sealed were {size}")


def damaged(where: Path | str, what: object) -> HarnetError:
    """The error for a file, or an array, of a recording that is not as it was written."""
    return HarnetError(f"{where}: damaged ({what}): {REMEDY}")


def files_of_group(folder: Path) -> list[str]:
    """Paths of all files of a group but its `zarr.json`, relative to it, in order."""
    # What an entry is, its folder says: nothing is asked of a file.
    found = (os.path.join(below, name) for below, _, names in os.walk(folder) for name in names)
    return sorted(name for path in found if (name := os.path.relpath(path, folder)) != METADATA)


def fingerprint(path: Path) -> tuple[int, str]:
    """Size and xxh3-128 of a file."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        for piece in iter(partial(file.read, _PIECE), b""):
            digest.update(piece)
        return file.tell(), digest.hexdigest()


def _digest(document: Any) -> str:
    """Of the values of a JSON document, however they are written down."""
    return xxhash.xxh3_128_hexdigest(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
