"""Bundles on the Hugging Face Hub: read from the local cache, downloaded only on request, published with a dry run.

A bundle is a valid Hub repository: `model.safetensors`, `config.json`, and a model card with front matter.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from harnet.errors import HarnetError
from harnet.weights.bundle_files import CONFIG, MODEL, SUMS

_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubId:
    """A repository on the Hub at a revision."""

    repository: str
    """"ORGANISATION/NAME"."""
    revision: str | None
    """Branch, tag or commit; None means the main branch."""

    @classmethod
    def parse(cls, text: str) -> "HubId | None":
        """Parse "ORGANISATION/NAME" or "ORGANISATION/NAME@REVISION"; None for anything else."""
        match = _ID.fullmatch(text)
        return None if match is None else cls(match["repository"], match["revision"])


def snapshot(found: HubId, download: bool) -> Path:
    """Folder of the repository in the local cache; downloaded first if `download` is set.

    HarnetError if it is not cached, cannot be downloaded, or huggingface_hub is not installed.
    """
    named = f"weights {found.repository!r}" + (f" at {found.revision}" if found.revision else "")
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        raise HarnetError(f"{named}: no such folder; if it is a name on the Hugging Face Hub: "
                          "pip install 'harnet[apply]'") from error  # fmt: skip
    try:
        folder = huggingface_hub.snapshot_download(
            found.repository,
            revision=found.revision,
            allow_patterns=[MODEL, CONFIG, SUMS],
            local_files_only=not download,
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        if not download:
            raise HarnetError(f"{named}: no such folder, and not in the local cache of the Hugging Face Hub: pass "
                              "download=True, or fetch it where there is a network: "
                              f"hf download {found.repository}") from error  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise HarnetError(f"{named}: cannot be fetched ({reason}): check the name and the network") from error
    return Path(folder)


@dataclass(frozen=True)
class Upload:
    """What was published, or would be."""

    repository: str
    """"ORGANISATION/NAME"."""
    files: dict[str, int]
    """Path inside the repository -> size in bytes."""
    url: str | None
    """URL of the commit; None after a dry run."""


def publish_folder(folder: Path, repository: str, private: bool, dry_run: bool) -> Upload:
    """Upload the files of a bundle, and nothing else in the folder, creating the repository if needed.

    The caller has checked the bundle. A dry run needs no network and no account. HarnetError if `repository` is not a
    valid name or the upload fails.
    """
    found = HubId.parse(repository)
    if found is None or found.revision is not None:
        raise HarnetError(f"{repository!r}: not the name of a repository on the Hub: give ORGANISATION/NAME")
    listed = [line.split(maxsplit=1)[1].lstrip("*") for line in (folder / SUMS).read_text().splitlines()]
    files = {name: (folder / name).stat().st_size for name in (*listed, SUMS)}
    if dry_run:
        return Upload(repository, files, None)
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        api = huggingface_hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(files),
            commit_message="Weights exported by harnet",
        )
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HarnetError(f"{repository}: not published ({reason}): check the name, the network and "
                          "`hf auth login`") from error  # fmt: skip
    return Upload(repository, files, str(commit.commit_url))
