"""The watch data set inside the `seglearn` package: 140 wrist recordings of 10 people, available to anyone with pip.

`watch_dataset.npy` holds a Python object, that is, a pickle, and unpickling can run arbitrary code. Two barriers keep
this safe. The file's SHA-256 must be that of the only known file. And it is read by an unpickler that imports nothing:
the four names that occur in it are looked up in a table of small functions and classes defined here, which can only
hold numbers; any other name is refused.
"""

import hashlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_shards.readers.device_reader import DeviceReader, Found, ReadOptions
from data_shards.recording import Loaded
from harnet.errors import HarnetError

SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
"""SHA-256 of `seglearn/data/watch_dataset.npy` in seglearn 1.2.5 (https://arxiv.org/abs/1802.01489)."""
RATE = 50.0
"""Samples per second (seglearn's documentation of `load_watch`)."""


class Seglearn(DeviceReader):
    """Reader of the data set: every exercise of every person is one recording. There is no clock; times start at 0."""

    kind = "seglearn watch_dataset.npy"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """A NumPy file that holds a Python object."""
        return head.startswith(b"\x93NUMPY") and b"'descr': '|O'" in head[:128] and b"'shape': ()" in head[:128]

    def label(self, path: Path) -> None:
        """None: the file has many recordings, which are labelled as they are read."""

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the 140 recordings in the order of the file. Raises `HarnetError` for any other file."""
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256:
            raise HarnetError(
                f"{path}: a NumPy file of Python objects, which are never loaded, other than seglearn 1.2.5's "
                f"watch_dataset.npy (SHA-256 {digest[:12]}…, expected {SHA256[:12]}…): install seglearn==1.2.5"
            )
        data = load_objects(content, str(path))
        columns = [data["X_labels"].index(f"a{axis}") for axis in "xyz"]
        for number, (signal, subject) in enumerate(zip(data["X"], data["subject"], strict=True)):
            recording = Loaded(
                acceleration=np.ascontiguousarray(signal[:, columns], np.float32),
                times=np.arange(len(signal)) / RATE,
                nominal_rate=RATE,
                device="smartwatch (seglearn)",
                clock="none",
                metadata={
                    "exercise": data["y_labels"][int(data["y"][number])],
                    "side": "right" if data["side"][number] else "left",
                },
            )
            participant = f"watch-{int(subject):02d}"
            yield Found(recording.stream(), label=f"{participant}-{number:03d}", participant=participant)


class _Dtype:
    """Stand-in for numpy.dtype: stores the name of a number type."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and flags: numbers in the known file are little-endian."""


class _Array:
    """Stand-in for numpy.ndarray: builds a plain array of numbers, or a list of objects."""

    def __init__(self, *_: object) -> None:
        self.value: Any = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, Any]) -> None:
        """Take NumPy's pickled state: version, shape, type, column order, content."""
        _, shape, dtype, column_order, content = state
        if isinstance(content, list):
            self.value = content[0] if shape == () else content
            return
        if dtype.name not in ("f8", "i8", "i4"):
            raise pickle.UnpicklingError(f"array of {dtype.name!r}")
        numbers = np.frombuffer(content, f"<{dtype.name}")
        self.value = numbers.reshape(shape, order="F" if column_order else "C")


def _encode(text: str, encoding: str) -> bytes:
    """Stand-in for _codecs.encode, which pickles of protocol 2 use for bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_INERT: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class InertUnpickler(pickle.Unpickler):
    """Unpickler that imports nothing: it knows only the names in a table of harmless stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; `UnpicklingError` for any but the four known names."""
        if (module, name) not in _INERT:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _INERT[module, name]


def load_objects(content: bytes, named: str) -> Any:
    """The object in a .npy file, with arrays of numbers as arrays; `HarnetError` for anything unexpected."""
    try:
        file = io.BytesIO(content)
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return _plain(InertUnpickler(file).load())
    except (pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError) as error:
        raise HarnetError(f"{named}: holds more than numbers and is refused ({error})") from error


def _plain(found: Any) -> Any:
    """Replace stand-ins by the numbers that they hold."""
    if isinstance(found, _Array):
        return _plain(found.value)
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_plain(value) for value in found]
    return found
