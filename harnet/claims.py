"""An output folder belongs to one set of settings: the same command resumes it; different settings are refused."""

import json
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.files import write_atomically

SETTINGS = "settings.json"


def claim(out: Path, settings: dict[str, Any], what: str) -> None:
    """Claim the folder `out` for `settings` (JSON-serialisable), creating it if missing.

    `what` names the results in messages, such as "fine-tuning results". HarnetError if `out` was claimed for different
    settings, or contains files but no settings.json.
    """
    path = out / SETTINGS
    if not path.exists():
        if taken(out):
            raise HarnetError(f"{out}: contains files other than {what}: choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(settings, indent=1) + "\n")
        return
    found = json.loads(path.read_text())
    different = [key for key in settings if found.get(key) != settings[key]]
    if different:
        raise HarnetError(f"{path}: holds results of other settings ({', '.join(different)} differ): "
                          "choose another folder or repeat the original command")  # fmt: skip


def taken(out: Path) -> bool:
    """Whether `out` contains visible files but no settings.json.

    Safe when all tasks of a job array start at once: their temporary files are hidden, and settings.json is checked
    last.
    """
    holds = out.exists() and any(not each.name.startswith(".") for each in out.iterdir())
    return holds and not (out / SETTINGS).exists()
