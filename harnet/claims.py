"""An output folder belongs to one set of settings: the same command continues it, another one is refused."""

import json
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.files import write_atomically

SETTINGS = "settings.json"


def claim(out: Path, settings: dict[str, Any], what: str) -> None:
    """Make `out` the folder of `settings`, in JSON's types; HarnetError if it is that of others, or holds no `what`."""
    path = out / SETTINGS
    if not path.exists():
        if taken(out):
            raise HarnetError(f"{out}: holds something else than {what}: choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(settings, indent=1) + "\n")
        return
    found = json.loads(path.read_text())
    different = [key for key in settings if found.get(key) != settings[key]]
    if different:
        raise HarnetError(f"{path}: holds results of other settings ({', '.join(different)} differ): "
                          "choose another folder or repeat the same command")  # fmt: skip


def taken(out: Path) -> bool:
    """Whether `out` holds anything, and no settings that say what.

    The other elements of an array may begin at this moment: their unfinished files are hidden ones, and the settings
    are looked for last.
    """
    holds = out.exists() and any(not each.name.startswith(".") for each in out.iterdir())
    return holds and not (out / SETTINGS).exists()
