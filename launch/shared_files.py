"""Whether the other nodes of a cluster will see a folder that is seen here."""

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
"""File systems of one machine. Any other kind (nfs, lustre, gpfs, beegfs, ceph, wekafs, fuse, ...) may be shared; if it
is not, the first start says so."""


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> tuple[str, str]:
    """Kind and mount point of the file system that a path, which need not exist yet, is or will be on."""
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
    """Raise a HarnetError if a path is on a disk of this machine and in none of the folders known to be shared."""
    if any(path.resolve().is_relative_to(Path(folder).resolve()) for folder in shared):
        return
    kind, point = file_system(path)
    if kind in LOCAL:
        raise HarnetError(
            f"{path}: the {what} is on {kind} at {point}, a disk of this machine that other nodes do not see; move it "
            "to a shared file system, or name the folder under `shared` in the profile if all nodes do see it"
        )
