"""The seglearn file is a pickle: reading it must never execute code."""

import hashlib
import importlib.util
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from data_shards.readers import load, seglearn
from harnet.errors import HarnetError


def npy_of(value: object, path: Path) -> Path:
    """A .npy file of one object, with the header that NumPy writes."""
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        pickle.dump(value, file, protocol=2)
    return path


class Malicious:
    """Creates a folder when unpickled by any loader that allows imports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_an_unknown_object_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    path = npy_of(Malicious(tmp_path / "made"), tmp_path / "watch_dataset.npy")
    with pytest.raises(HarnetError, match="which are never loaded"):
        list(load(path))
    assert not (tmp_path / "made").exists()


def test_with_a_matching_hash_it_still_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npy_of(Malicious(tmp_path / "made"), tmp_path / "watch_dataset.npy")
    monkeypatch.setattr(seglearn, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(HarnetError, match=r"it asks for posix\.mkdir"):
        list(load(path))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "os.system", "numpy.core.multiarray.scalar"])
def test_no_other_name_is_known(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    content = f"c{module}\n{attribute}\n.".encode()
    with pytest.raises(pickle.UnpicklingError, match=name):
        seglearn.InertUnpickler(io.BytesIO(content)).load()


def test_the_real_file() -> None:
    spec = importlib.util.find_spec("seglearn")
    if spec is None or spec.origin is None:
        pytest.skip("seglearn is not installed: pip install seglearn==1.2.5")
    found = list(load(Path(spec.origin).parent / "data" / "watch_dataset.npy"))
    assert len(found) == 140
    assert len({one.label for one in found}) == 140
    assert len({one.participant for one in found}) == 10
    norms = [np.linalg.norm(one.recording.acceleration, axis=1).mean() for one in found]
    assert 0.9 < float(np.median(norms)) < 1.2
    assert {one.recording.clock for one in found} == {"none"}
