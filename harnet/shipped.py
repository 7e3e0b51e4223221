"""Files that come with the package and are asked for by name, such as configurations and site profiles."""

from pathlib import Path

from harnet.errors import HarnetError


def names(folder: Path) -> list[str]:
    """What `find` takes for the TOML files in a folder of the package."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find(given: str | Path, folder: Path, what: str) -> Path:
    """The file that a user means: a path if there is a file, else the name of one in `folder`, without its ending.

    Raises:
        HarnetError: neither; it lists the names. `what` is the kind of file, for people.
    """
    path, named = Path(given), folder / f"{given}.toml"
    # A pipe is as good as a file.
    if path.exists() and not path.is_dir():
        return path
    if len(path.parts) == 1 and named.is_file():
        return named
    raise HarnetError(
        f"{given}: no such {what}, and not one of those that come with harnet: {', '.join(names(folder))}"
    )
