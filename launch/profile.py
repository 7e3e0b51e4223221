"""What is special about a cluster, in a TOML file of the site: partition, account, modules, container, network.

The names in the file are the names of the fields here.
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
"""Those that come with harnet. In a checkout `site` is a link to slurm/."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Profile:
    """A site; everything has a default, so a cluster that needs nothing special needs no file."""

    partition: str = ""
    """`--partition`; empty for the cluster's default one."""
    account: str = ""
    """`--account`, what the hours are billed to."""
    qos: str = ""
    """`--qos`."""
    constraint: str = ""
    """`--constraint`, features that a node must have."""
    gpu_type: str = ""
    """Kind of GPU to ask for, such as "a100", where a partition has several."""
    minutes: int = 1440
    """Time limit of one start. A longer run stops before it with a checkpoint, is queued again, and goes on."""
    signal_seconds: int = 300
    """Seconds before the time limit at which a run is asked to stop: a step, a held-out loss and a checkpoint must fit.
    Slurm may ask up to 60 s earlier."""
    cpus_per_task: int = 0
    """CPU cores for a process: one, one for each loader (data.workers), one to spare. 0 for the cluster's default."""
    memory: str = ""
    """`--mem`, for a node, such as "200G"."""
    shared: tuple[str, ...] = ()
    """Folders that all nodes see, such as "/scratch". Only needed where that cannot be told from the file system."""
    modules: tuple[str, ...] = ()
    """Loaded by `module load` before anything else."""
    setup: tuple[str, ...] = ()
    """Lines of shell that come after that."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables for all processes, such as NCCL_SOCKET_IFNAME. They stand in the batch script: no place for keys."""
    python: str = ""
    """Interpreter that runs the job; empty for the one that submits."""
    container: str = ""
    """Apptainer image that the training processes run in; empty for none. The job's first process stays outside."""
    container_command: tuple[str, ...] = ("apptainer", "exec", "--nv")
    """What comes before the image; add "--bind" and the folders that the image must see."""
    sbatch: dict[str, str] = field(default_factory=dict)
    """Any other option of sbatch without its dashes: exclude = "n13"."""

    def __post_init__(self) -> None:
        self._check_script()
        if self.minutes < 1:
            raise HarnetError(f"minutes is {self.minutes}; it must be at least 1")
        if not 0 < self.signal_seconds < 60 * self.minutes:
            raise HarnetError(
                f"signal_seconds is {self.signal_seconds}; it must lie within the {self.minutes} minutes of a start"
            )

    def _check_script(self) -> None:
        """Nothing but `setup`, which is meant to, may add a line to the batch script."""
        for one in fields(self):
            found = getattr(self, one.name)
            values = list(found.values()) if isinstance(found, dict) else [found] if isinstance(found, str) else found
            for value in values if isinstance(values, list | tuple) and one.name != "setup" else ():
                refuse_control(one.name, value)
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise HarnetError(f"environment: {name!r} is no name of a variable: letters, digits and _ only")
        for name in self.sbatch:
            if not _OPTION.fullmatch(name):
                raise HarnetError(f"sbatch: {name!r} is no option: give its name without dashes, such as exclude")


def refuse_control(what: str, value: str) -> None:
    """Raise a HarnetError for a line break, or another control character, which would end a line of the script."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value):
        raise HarnetError(f"{what} is {value!r}; it may hold no line break or other control character")


def read(given: str | Path | None) -> Profile:
    """A profile from its file, or by the name of one that comes with harnet; the defaults without one.

    Raises:
        HarnetError: the file is missing, is not TOML, or has a name or a value that a profile has not.
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
            raise HarnetError(f"{path}: {name!r} is no setting of a profile; one of: {', '.join(kinds)}")
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
    wanted = {tuple: "a list of strings", dict: "a table", int: "a whole number", str: "a string"}
    raise HarnetError(f"{path}: {name} is {value!r}; it must be {wanted[get_origin(kind) or kind]}")
