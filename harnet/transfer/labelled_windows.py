"""Reading labelled windows from a folder of three NumPy files, checked before training starts."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet.encoder import AXES
from harnet.errors import HarnetError
from harnet.weights.fingerprint import check_windows


@dataclass(frozen=True)
class LabelledWindows:
    """Windows with their activity labels and wearers."""

    windows: NDArray[np.float32]
    """(N, 3, L) in g at 30 Hz."""
    labels: NDArray[np.int64]
    """(N,) indices into `classes`."""
    people: NDArray[np.str_]
    """(N,) pseudonym of the wearer."""
    classes: tuple[str, ...]
    """Names of the classes, sorted."""
    digest: str
    """SHA-256 of all of the above; equal digests mean equal data sets."""


def read_windows(folder: str | Path, architecture: str) -> LabelledWindows:
    """Read `X.npy`, `Y.npy` and `pid.npy` of `folder`.

    X: floating point, (N, 3, L) or (N, L, 3), in g at 30 Hz, where L is the window length of `architecture`. Y: (N,)
    text or integer labels. pid: (N,) text or integers, the wearer of each window. HarnetError if a file is missing,
    has the wrong shape or dtype (arrays of Python objects are never unpickled) or the wrong units, contains NaN or
    infinity, or if there are fewer than two people or classes.
    """
    folder = Path(folder)
    windows = _windows(folder / "X.npy", architecture)
    labels = _names(folder / "Y.npy", len(windows))
    people = _names(folder / "pid.npy", len(windows))
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise HarnetError(f"{folder / 'Y.npy'}: only one class ({str(classes[0])!r}): a classifier needs two or more")
    if len(np.unique(people)) < 2:
        raise HarnetError(f"{folder / 'pid.npy'}: only one person: testing on unseen people needs two or more")
    digest = hashlib.sha256(windows.tobytes())
    for column in (labels, people):
        digest.update("\n".join(column.tolist()).encode())
    return LabelledWindows(
        windows, indices.astype(np.int64), people, tuple(str(name) for name in classes), digest.hexdigest()
    )


def _load(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise HarnetError(f"{path}: missing: a folder of labelled windows holds X.npy, Y.npy and pid.npy")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        if "allow_pickle" in str(error):
            raise HarnetError(
                f"{path}: an array of Python objects, which is not read for security: save it again as "
                "np.save(path, array.astype(str)) for labels and people, np.stack(list(array)) for windows"
            ) from error
        raise HarnetError(f"{path}: not a complete .npy file ({error}): write it again with np.save") from error
    if not isinstance(array, np.ndarray):
        raise HarnetError(f"{path}: an archive of several arrays, expected one: write it with np.save")
    return array


def _windows(path: Path, architecture: str) -> NDArray[np.float32]:
    array = _load(path)
    if array.ndim != 3 or (array.shape[1] == AXES) == (array.shape[2] == AXES) or not len(array):
        raise HarnetError(f"{path}: shape {array.shape}, expected (N, {AXES}, L) or (N, L, {AXES}), N at least 1")
    if array.shape[1] != AXES:
        array = array.transpose(0, 2, 1)
    check_windows(array, architecture, where=str(path))
    return np.ascontiguousarray(array, dtype=np.float32)


def _names(path: Path, count: int) -> NDArray[np.str_]:
    array = _load(path)
    if array.shape != (count,):
        raise HarnetError(f"{path}: shape {array.shape}, expected ({count},), one entry for each window of X.npy")
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind not in "Uiub":
        raise HarnetError(f"{path}: {array.dtype}, expected text or integers: save array.astype(str)")
    return array.astype(np.str_)
