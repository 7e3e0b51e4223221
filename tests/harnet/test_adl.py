from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harnet.datasets.adl import PEOPLE, read
from harnet.datasets.cutting import WindowCutting
from harnet.errors import HarnetError
from launch.cli import main


def test_the_real_download_gives_the_published_618_windows(
    shared: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = shared("data/adl_hmp")
    assert main(["dataset", "windows", "adl", str(raw), "--out", str(tmp_path / "adl")]) == 0
    assert "7 people, 618 windows, 1.27 h, 5 labels" in capsys.readouterr().out
    windows, labels, people = (np.load(tmp_path / "adl" / f"{name}.npy") for name in ("X", "Y", "pid"))
    assert windows.shape == (618, 3, 300)
    assert set(people) == set(PEOPLE)
    assert Counter(labels.tolist())["walk"] == 279
    norms = np.linalg.norm(windows.mean(axis=2), axis=1)
    assert 0.8 < np.median(norms) < 1.2


def write(folder: Path, lines: str, people: tuple[str, ...] = PEOPLE) -> Path:
    (folder / "Walk").mkdir()
    for person in people:
        (folder / "Walk" / f"Accelerometer-2011-03-24-10-24-39-walk-{person}.txt").write_text(lines)
    return folder


def test_gravity_survives_resampling(tmp_path: Path) -> None:
    found = read(write(tmp_path, "63 42 21\n" * 480), WindowCutting())
    assert (len(found.windows), found.labels[0], found.people[0]) == (14, "walk", "f1")
    assert found.seconds == 7 * 15
    np.testing.assert_allclose(found.windows, np.broadcast_to([[1.5], [0.5], [-0.5]], (14, 3, 300)), atol=1e-3)


@pytest.mark.parametrize(
    ("lines", "says"), [("1 2\n" * 400, "three codes"), ("1 2 99\n" * 400, "0 to 63"), ("x y z\n", "three integers")]
)
def test_files_of_another_form_are_named(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(HarnetError, match=rf"walk-f1.txt.*{says}"):
        read(write(tmp_path, lines), WindowCutting())


def test_an_empty_or_partial_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="a trial of ADL"):
        read(tmp_path, WindowCutting())
    with pytest.raises(HarnetError, match="no trial of m3, m4"):
        read(write(tmp_path, "63 42 21\n" * 480, PEOPLE[:-2]), WindowCutting())
