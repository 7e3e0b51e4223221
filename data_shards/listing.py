"""A listing of the input shared by all tasks of a job array, computed once by the first task that needs it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.files import store_once, stored_once


def listed(listing: Path, inputs: list[str], find: Callable[[], Any]) -> Any:
    """The result of `find()`, JSON-serialisable: computed by the first caller, stored at `listing`, read by the others.

    Args:
        listing: Path on a file system shared by all tasks, used by one array only.
        inputs: Absolute paths of the input that is listed.
        find: Computes the listing.

    Raises:
        HarnetError: the stored listing is for other inputs, or damaged.
    """
    try:
        text = stored_once(listing)
        if text is None:
            found = json.dumps({"inputs": inputs, "found": find()})
            text = store_once(listing, found)
    except (FileNotFoundError, NotADirectoryError):
        raise HarnetError(
            f"--listing {listing}: something else is stored there: pass a path that is not in use"
        ) from None
    try:
        document = json.loads(text)
        of, found = document["inputs"], document["found"]
    except (ValueError, KeyError, TypeError):
        raise damaged(listing) from None
    if of != inputs:
        raise HarnetError(f"{listing}: lists other inputs: give each array its own --listing")
    return found


def damaged(listing: Path) -> HarnetError:
    """The error for a listing that cannot be parsed."""
    return HarnetError(f"{listing}: damaged: delete it, and run the same command again")
