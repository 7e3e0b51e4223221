"""Files that come with the package and are selected by name, such as configurations and site profiles."""

from pathlib import Path

from harnet.errors import HarnetError


def names(folder: Path) -> list[str]:
    """Names of the TOML files in a folder of the package, as `find` takes them."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find(given: str | Path, folder: Path, what: str) -> Path:
    """The file that a user asked for: a path or, if no such file exists, the name of one in `folder` without suffix.

    Raises:
        HarnetError: it is neither; the message lists the names. `what` names the kind of file in the message.
    """
    path, named = Path(given), folder / f"{given}.toml"
    # Not is_file(): the path may also be a pipe.
    if path.exists() and not path.is_dir():
        return path
    if len(path.parts) == 1 and named.is_file():
        return named
    raise HarnetError(
        f"{given}: no such {what}, and not one of those that come with harnet: {', '.join(names(folder))}"
    )
