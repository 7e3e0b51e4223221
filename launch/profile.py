"""Site profile: a cluster's partition, account, modules, container and network, in a TOML file.

The keys of the file are the fields of `Profile`.
"""

import re
import tomllib
import unicodedata
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from harnet.errors import HarnetError
from harnet.shipped import find

PROFILES = Path(__file__).parent / "site" / "profiles"
"""Site profiles that come with harnet. In a checkout, `site` is a symbolic link to slurm/."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Profile:
    """A site profile. Everything has a default, so a cluster without special settings needs no file."""

    partition: str = ""
    """`--partition`; empty for the cluster's default."""
    account: str = ""
    """`--account`, to which compute time is charged."""
    qos: str = ""
    """`--qos`."""
    constraint: str = ""
    """`--constraint`, required node features."""
    gpu_type: str = ""
    """GPU type to request, such as "a100", if a partition has several."""
    minutes: int = 1440
    """Time limit of each start, in minutes. A longer run writes a checkpoint before it, is requeued, and resumes."""
    signal_seconds: int = 300
    """Seconds before the time limit at which a run is asked to stop; one step, one held-out evaluation and one
    checkpoint must fit in. Slurm may send the signal up to 60 s earlier."""
    cpus_per_task: int = 0
    """CPU cores per process: one, plus one per loader (data.workers), plus one spare. 0 for the cluster's default."""
    memory: str = ""
    """`--mem`, memory per node, such as "200G"."""
    shared: tuple[str, ...] = ()
    """Folders visible to all nodes, such as "/scratch"; only needed if the file system type does not show it."""
    modules: tuple[str, ...] = ()
    """Environment modules to load first, with `module load`."""
    setup: tuple[str, ...] = ()
    """Shell lines to run after that."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables of all processes, such as NCCL_SOCKET_IFNAME. The batch script shows them: no secrets."""
    python: str = ""
    """Python interpreter that runs the job; empty for the one that submits it."""
    container: str = ""
    """Apptainer image for the training processes; empty for none. The job's supervisor runs outside it."""
    container_command: tuple[str, ...] = ("apptainer", "exec", "--nv")
    """Command before the image; add "--bind" with the folders that must be visible inside the container."""
    sbatch: dict[str, str] = field(default_factory=dict)
    """Any other sbatch options, without dashes, such as exclude = "n13"."""

    def __post_init__(self) -> None:
        self._check_script()
        if self.minutes < 1:
            raise HarnetError(f"minutes is {self.minutes}; it must be at least 1")
        if not 0 < self.signal_seconds < 60 * self.minutes:
            raise HarnetError(
                f"signal_seconds is {self.signal_seconds}; it must lie within the {self.minutes} minutes of a start"
            )

    def _check_script(self) -> None:
        """Only `setup` may add lines to the batch script."""
        for one in fields(self):
            found = getattr(self, one.name)
            values = list(found.values()) if isinstance(found, dict) else [found] if isinstance(found, str) else found
            for value in values if isinstance(values, list | tuple) and one.name != "setup" else ():
                refuse_control(one.name, value)
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise HarnetError(f"environment: {name!r} is not a variable name: use letters, digits and _ only")
        for name in self.sbatch:
            if not _OPTION.fullmatch(name):
                raise HarnetError(f"sbatch: {name!r} is not an option: give its name without dashes, such as exclude")


def refuse_control(what: str, value: str) -> None:
    """Raise a HarnetError for a line break or another control character, which could end a line of the script."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value):
        raise HarnetError(f"{what} is {value!r}; it must not contain a line break or other control character")


def read(given: str | Path | None) -> Profile:
    """A profile from its file, or by the name of one that comes with harnet; the defaults without one.

    Raises:
        HarnetError: the file is missing, is not TOML, or has an unknown key or an invalid value.
    """
    if given is None:
        return Profile()
    path = find(given, PROFILES, "site profile")
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnetError(f"{path}: not TOML: {error}") from error
    kinds: dict[str, Any] = {one.name: one.type for one in fields(Profile)}
    for name, value in table.items():
        if name not in kinds:
            raise HarnetError(f"{path}: {name!r} is not a profile setting; one of: {', '.join(kinds)}")
        table[name] = _typed(path, name, value, kinds[name])
    try:
        return Profile(**table)
    except HarnetError as error:
        raise HarnetError(f"{path}: {error}") from None


def _typed(path: Path, name: str, value: object, kind: Any) -> object:
    if get_origin(kind) is tuple and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: str(each) for key, each in value.items()}
    if get_origin(kind) is None and type(value) is kind:
        return value
    expected = {tuple: "a list of strings", dict: "a table", int: "an integer", str: "a string"}
    raise HarnetError(f"{path}: {name} is {value!r}; it must be {expected[get_origin(kind) or kind]}")
