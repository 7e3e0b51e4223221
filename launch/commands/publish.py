"""`harnet publish`: upload a folder of weights to the Hugging Face Hub, or list what would be uploaded."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from harnet.errors import HarnetError
from harnet.weights.bundle_source import listed_files, open_source, read_checked
from harnet.weights.load import read_bundle
from harnet.weights.model_hub import publish_folder


@dataclass(frozen=True)
class Command:
    """Upload a folder of weights to the Hugging Face Hub, after verifying every file.

    Uses the account of `hf auth login`. With --dry-run nothing is uploaded and no network is needed.

    Example: harnet publish weights --to ORGANISATION/NAME --dry-run
    """

    weights: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="WEIGHTS")]
    """Folder written by `harnet export`."""
    to: str
    """Repository on the Hub, ORGANISATION/NAME; created if it does not exist."""
    dry_run: bool = False
    """Verify and list the files; upload nothing."""
    private: bool = False
    """If the repository is created, make it private."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Verify, then upload; returns the exit code."""
        config = read_bundle(self.weights).config
        source = open_source(self.weights)
        for name in listed_files(source):
            read_checked(source, name)
        if not (config.data_use_terms or self.dry_run):
            raise HarnetError(f"{self.weights}: states no data-use terms: export it again with --data-use-terms, so "
                              "that users know what they may do with the weights")  # fmt: skip
        done = publish_folder(self.weights, self.to, self.private, self.dry_run)
        if self.json:
            print(json.dumps(asdict(done)))
            return 0
        for name, size in done.files.items():
            print(f"{size:>13,}  {name}")
        if done.url is None:
            print(f"dry run: {len(done.files)} files would be uploaded to {done.repository}")
        else:
            print(f"{done.repository}: published, {done.url}")
        return 0
