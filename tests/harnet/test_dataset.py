from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harnet.errors import HarnetError
from harnet.transfer.labelled_windows import read_windows

Arrays = dict[str, np.ndarray]


def arrays() -> Arrays:
    x = 0.1 * np.random.default_rng(0).standard_normal((6, 3, 150))
    x[:, 1] += 1
    return {"X": x, "Y": np.array(["walk", "sit"] * 3), "pid": np.array([1, 1, 2, 2, 3, 3])}


def write(folder: Path, content: Arrays) -> Path:
    for name, array in content.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
    return folder


def test_both_layouts_and_label_types_are_the_same_data(tmp_path: Path) -> None:
    first = arrays()
    read = read_windows(write(tmp_path, first), "harnet5")
    assert read.windows.shape == (6, 3, 150)
    assert read.windows.dtype == np.float32
    assert read.classes == ("sit", "walk")
    assert read.labels.tolist() == [1, 0] * 3
    assert read.people.tolist() == ["1", "1", "2", "2", "3", "3"]
    other = {"X": first["X"].transpose(0, 2, 1), "Y": first["Y"].astype("S"), "pid": first["pid"].astype(str)}
    assert read_windows(write(tmp_path, other), "harnet5").digest == read.digest
    other["Y"] = first["Y"][::-1]
    assert read_windows(write(tmp_path, other), "harnet5").digest != read.digest


def with_nan(x: np.ndarray) -> np.ndarray:
    x[2, 0, 5] = np.nan
    return x


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("X", lambda x: 9.80665 * x, "m/s²; divide by 9.80665"),
        ("X", lambda x: 1000 * x, "mg; divide by 1000"),
        ("X", lambda x: x - x.mean(axis=2, keepdims=True), "was gravity removed"),
        ("X", with_nan, "1 of 6 windows contain NaN or infinity"),
        ("X", lambda x: x.astype(np.int16), "int16, expected floating point"),
        ("X", lambda x: np.repeat(x, 2, axis=2), "takes 150: that length fits harnet10"),
        ("X", lambda x: x[:, :, :100], r"\(20 Hz\), resample to 30 Hz"),
        ("X", lambda x: x[0], r"shape \(3, 150\), expected \(N, 3, L\)"),
        ("X", lambda x: x[:, :, :3], r"shape \(6, 3, 3\), expected"),
        ("X", lambda x: np.array([None, x[0]], dtype=object), "np.stack"),
        ("Y", lambda y: y[:5], r"shape \(5,\), expected \(6,\)"),
        ("Y", lambda y: y.astype(object), r"array.astype\(str\)"),
        ("Y", lambda y: np.ones(6), "float64, expected text or integers"),
        ("Y", lambda y: np.full(6, "sit"), r"only one class \('sit'\)"),
        ("pid", lambda p: np.full(6, 1), "only one person"),
    ],
)
def test_wrong_data_is_refused(
    tmp_path: Path, name: str, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    content = arrays()
    content[name] = change(content[name])
    with pytest.raises(HarnetError, match=said) as caught:
        read_windows(write(tmp_path, content), "harnet5")
    assert str(tmp_path / f"{name}.npy") in str(caught.value)


def test_missing_and_truncated_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path, arrays())
    (tmp_path / "X.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:-100])
    with pytest.raises(HarnetError, match="not a complete"):
        read_windows(tmp_path, "harnet5")
    (tmp_path / "X.npy").unlink()
    with pytest.raises(HarnetError, match=r"X.npy: missing"):
        read_windows(tmp_path, "harnet5")
