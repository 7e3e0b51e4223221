"""Names of temporary files that identify the writing process, so that leftovers of killed processes can be removed."""

import os
import re
import socket
import uuid

OWNED = r"(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]+)-[0-9a-f]{12,32}"
"""Pattern of `new_name`, for names that contain one."""


def new_name() -> str:
    """A unique part of a file name: this machine, this process, and a random number."""
    return f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def is_dead(name: re.Match[str]) -> bool:
    """Whether a match of `OWNED` names a process of this machine that has ended; False for other machines, where it is
    unknown."""
    return name["host"] == _host() and not _is_alive(int(name["pid"]))


def _host() -> str:
    """A short identifier of this machine that is safe in a file name."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname()).hex[:8]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
