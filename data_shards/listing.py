"""What all elements of a job array have to know of their input, found out once: by whoever comes first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.files import store_once, stored_once


def listed(listing: Path, inputs: list[str], find: Callable[[], Any]) -> Any:
    """`find()`, in JSON's types: of the first that asks kept in `listing`, and read from there by all others.

    Args:
        listing: Path on a file system that all see; one array's alone.
        inputs: Of what it is, by absolute paths.
        find: Looks.

    Raises:
        HarnetError: the listing is of other inputs, or damaged.
    """
    text = stored_once(listing)
    if text is None:
        text = store_once(listing, json.dumps({"inputs": inputs, "found": find()}))
    try:
        document = json.loads(text)
        of, found = document["inputs"], document["found"]
    except (ValueError, KeyError, TypeError):
        raise damaged(listing) from None
    if of != inputs:
        raise HarnetError(f"{listing}: is of other inputs: give each array a --listing of its own")
    return found


def damaged(listing: Path) -> HarnetError:
    """The error for a listing that cannot be understood."""
    return HarnetError(f"{listing}: damaged: delete it, and run the same command again")
