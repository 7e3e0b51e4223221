"""`harnet dataset list | fetch NAME | windows NAME FOLDER`: from public labelled data sets to labelled windows."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from harnet.datasets.cutting import WindowCutting
from harnet.datasets.fetch import fetch
from harnet.datasets.parsed_dataset import save
from harnet.datasets.registry import DATASETS, find


@dataclass(frozen=True)
class List:
    """List the supported data sets and how to obtain them."""

    def run(self) -> int:
        """Print two lines per data set; returns the exit code."""
        width = max(map(len, DATASETS))
        for row in DATASETS.values():
            print(f"{row.name:<{width}}  {'fetch' if row.url else 'ask  '}  {row.title} ({row.device})")
            print(f"{'':<{width}}         {row.source}; licence: {row.licence}")
        print(f"{'(your own)':<{width}}  -      a folder with X.npy, Y.npy and pid.npy, as harnet finetune reads it")
        return 0


@dataclass(frozen=True)
class Fetch:
    """Download, verify and unpack a data set if its licence permits; otherwise say how to request it."""

    name: tyro.conf.Positional[str]
    """Name of the data set; see `harnet dataset list`."""
    out: Path | None = None
    """Folder for the archive and its contents; default: downloads/NAME."""
    sha256: str = ""
    """Expected SHA-256 of the archive. Without it, the digest is recorded and verified from then on."""

    def run(self) -> int:
        """Download and unpack; returns the exit code."""
        raw = fetch(find(self.name), self.out or Path("downloads") / self.name, self.sha256)
        print(f"{raw}: unpacked; next: harnet dataset windows {self.name} {raw} --out labelled/{self.name}")
        return 0


@dataclass(frozen=True)
class MakeWindows:
    """Cut raw data into labelled windows (X.npy, Y.npy, pid.npy) and print people, windows, hours and labels."""

    name: tyro.conf.Positional[str]
    """Name of the data set; see `harnet dataset list`."""
    folder: tyro.conf.Positional[Path]
    """Folder of the unpacked raw data."""
    out: Path
    """Folder for the windows; `harnet evaluate` uses its name as the name of the data set."""
    cutting: tyro.conf.OmitArgPrefixes[WindowCutting] = field(default_factory=WindowCutting)
    """How windows are cut."""
    json: bool = False
    """Print the summary as JSON."""

    def run(self) -> int:
        """Write the windows; returns the exit code."""
        row = find(self.name)
        found = row.read(self.folder, self.cutting)
        facts = {"name": row.name, "title": row.title, "device": row.device, "source": row.source}
        save(found, self.out, {**facts, "licence": row.licence})
        if self.json:
            people, labels = (sorted(set(column.tolist())) for column in (found.people, found.labels))
            print(json.dumps({"out": str(self.out), "windows": len(found.windows), "people": len(people),
                              "hours": found.seconds / 3600, "labels": labels, "notes": found.notes}))  # fmt: skip
        else:
            print("\n".join(f"{self.out}: {line}" if not number else f"  {line}"
                            for number, line in enumerate(found.summary())))  # fmt: skip
        return 0


class Command:
    """Public labelled data sets: list them, download them, and cut labelled windows.

    Example: harnet dataset windows adl HMP_Dataset/ --out labelled/adl
    """

    @staticmethod
    def parse(program: str, arguments: Sequence[str]) -> "List | Fetch | MakeWindows":
        """Parse one of the three sub-commands with its options."""
        return tyro.extras.subcommand_cli_from_dict(
            {"list": List, "fetch": Fetch, "windows": MakeWindows},
            prog=program,
            description=inspect.getdoc(Command),
            args=arguments,
        )
