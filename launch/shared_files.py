"""Checking that a folder is on a file system that all nodes of the cluster share."""

import os
from pathlib import Path

from harnet.errors import HarnetError

LOCAL = frozenset(
    (
        "btrfs",
        "devtmpfs",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "jfs",
        "overlay",
        "ramfs",
        "reiserfs",
        "squashfs",
        "tmpfs",
        "xfs",
    )
)
"""Types of local file systems. Any other type (nfs, lustre, gpfs, beegfs, ceph, wekafs, fuse, ...) may be shared; if it
is not, the first start of the job reports it."""


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> tuple[str, str]:
    """Type and mount point of the file system of `path`, which need not exist yet."""
    real = str(path.resolve())
    best = ("unknown", "/")
    for line in mounts.read_text().splitlines():
        _, point, kind, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip(os.sep) + os.sep)
        if inside and len(point) >= len(best[1]):
            best = (kind, point)
    return best


def check_shared(what: str, path: Path, shared: tuple[str, ...]) -> None:
    """Raise a HarnetError if `path` is on a local disk and not inside one of the `shared` folders."""
    if any(path.resolve().is_relative_to(Path(folder).resolve()) for folder in shared):
        return
    kind, point = file_system(path)
    if kind in LOCAL:
        raise HarnetError(
            f"{path}: the {what} is on {kind} at {point}, a local disk that other nodes cannot see; move it to a "
            "shared file system, or list the folder under `shared` in the profile if all nodes can see it"
        )
