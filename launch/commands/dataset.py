"""`harnet dataset list | fetch NAME | windows NAME FOLDER`: public labelled data sets to labelled windows."""

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
    """The data sets that are known, and how each is obtained."""

    def run(self) -> int:
        """Print a row a data set."""
        width = max(map(len, DATASETS))
        for row in DATASETS.values():
            print(f"{row.name:<{width}}  {'fetch' if row.url else 'ask  '}  {row.title} ({row.device})")
            print(f"{'':<{width}}         {row.source}; licence: {row.licence}")
        print(f"{'(your own)':<{width}}  -      a folder with X.npy, Y.npy and pid.npy, as harnet finetune reads it")
        return 0


@dataclass(frozen=True)
class Fetch:
    """Download a data set whose licence permits it, check and unpack it; for the others, say whom to ask."""

    name: tyro.conf.Positional[str]
    """As `harnet dataset list` prints it."""
    out: Path | None = None
    """Folder for the archive and its contents; downloads/NAME by default."""
    sha256: str = ""
    """Digest that the archive must have. Without, the digest is written down and checked from then on."""

    def run(self) -> int:
        """0 when the raw data are there."""
        raw = fetch(find(self.name), self.out or Path("downloads") / self.name, self.sha256)
        print(f"{raw}: unpacked; next: harnet dataset windows {self.name} {raw} --out labelled/{self.name}")
        return 0


@dataclass(frozen=True)
class MakeWindows:
    """Raw data to labelled windows: X.npy, Y.npy, pid.npy; prints people, windows, hours and labels."""

    name: tyro.conf.Positional[str]
    """As `harnet dataset list` prints it."""
    folder: tyro.conf.Positional[Path]
    """The raw data, unpacked."""
    out: Path
    """Folder for the windows; its name is what `harnet evaluate` calls the data set."""
    cutting: tyro.conf.OmitArgPrefixes[WindowCutting] = field(default_factory=WindowCutting)
    """How windows are cut."""
    json: bool = False
    """Print the facts as JSON."""

    def run(self) -> int:
        """0 when the windows are written."""
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
    """Public labelled data sets: which there are, how to get them, and their labelled windows.

    Example: harnet dataset windows adl HMP_Dataset/ --out labelled/adl
    """

    @staticmethod
    def parse(program: str, arguments: Sequence[str]) -> "List | Fetch | MakeWindows":
        """One of the three, with its options."""
        return tyro.extras.subcommand_cli_from_dict(
            {"list": List, "fetch": Fetch, "windows": MakeWindows},
            prog=program,
            description=inspect.getdoc(Command),
            args=arguments,
        )
