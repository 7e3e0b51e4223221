from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harnet.benchmarks.adl import labelled_windows
from harnet.errors import HarnetError


def test_the_real_download_gives_the_published_618_windows(shared: Callable[[str], Path]) -> None:
    windows, labels, people = labelled_windows(shared("data/adl_hmp"))
    assert windows.shape == (618, 3, 300)
    assert set(people) == {"f1", "f2", "f3", "m1", "m2", "m3", "m4"}
    assert len(Counter(labels)) == 5
    norms = np.linalg.norm(windows.mean(axis=2), axis=1)
    assert 0.8 < np.median(norms) < 1.2


def write(folder: Path, lines: str) -> Path:
    (folder / "Walk").mkdir()
    (folder / "Walk" / "Accelerometer-2011-03-24-10-24-39-walk-f1.txt").write_text(lines)
    return folder


def test_gravity_survives_resampling(tmp_path: Path) -> None:
    windows, labels, people = labelled_windows(write(tmp_path, "63 42 21\n" * 480))
    assert (len(windows), labels[0], people[0]) == (2, "walk", "f1")
    np.testing.assert_allclose(windows, np.broadcast_to([[1.5], [0.5], [-0.5]], windows.shape), atol=1e-3)


@pytest.mark.parametrize(
    ("lines", "says"), [("1 2\n" * 400, "three codes"), ("1 2 99\n" * 400, "0 to 63"), ("x y z\n", "whole")]
)
def test_files_of_another_form_are_named(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(HarnetError, match=f"walk-f1.txt.*{says}"):
        labelled_windows(write(tmp_path, lines))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="no trial of ADL"):
        labelled_windows(tmp_path)
