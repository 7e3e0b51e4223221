"""From open recordings to weights in one command; two runs give identical bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from harnet.console import guarded
from harnet.weights.load import read_bundle
from launch.open_weights import Rebuild

SMALL = (
    "--model.architecture", "harnet5", "--model.width", "8", "--data.batch", "8", "--data.lanes", "4",
    "--data.heldout-windows", "0", "--data.windows-per-visit", "16", "--data.shuffle-windows", "16",
    "--optimizer.warmup-steps", "1", "--run.steps", "3", "--run.evaluate-every", "3", "--run.checkpoint-every", "3",
    "--run.compile", "off",
)  # fmt: skip


def recording(path: Path, seconds: int, seed: int) -> None:
    random, times = np.random.default_rng(seed), np.arange(32 * seconds) / 32
    axes = {axis: 0.3 * np.sin(2 * np.pi * (1 + n) * times) + random.normal(0, 0.05, len(times)) for n, axis in
            enumerate("xyz")}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"time": times, **axes, "z": axes["z"] + 1}), path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(4):
        recording(folder / "nurse-stress-e4" / f"nurse-{number}__1.parquet", 200, number)
    recording(folder / "quiroz-walking" / "quiroz-1__1.parquet", 100, 9)
    recording(folder / "quiroz-walking" / "quiroz-1__short.parquet", 5, 9)
    recording(folder / "selfback" / "selfback-1__jogging.parquet", 100, 10)
    return folder


def test_two_rebuilds_give_the_same_bytes_and_say_what_is_in_them(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for name in ("one", "two"):
        work = tmp_path / name
        assert Rebuild(data, work / "weights", work, workers=1, options=SMALL).run() == 0
        found.append(read_bundle(work / "weights"))
    one, two = found
    assert one.digest == two.digest
    assert one.config.manifest_digest == two.config.manifest_digest
    assert one.config.provenance["objective"] == "context"
    assert one.config.provenance["people"] <= 5, "a benchmark beside them is not trained on"
    terms = one.config.data_use_terms
    assert "CC0" in terms
    assert "PhysioNet" not in terms, "what was not there is not named"
    shown = capsys.readouterr().out
    assert "exam-stress-e4: skipped" in shown
    assert "quiroz-1__short" in shown, "a recording that is too short is listed, and stops no other"
    assert Rebuild(data, tmp_path / "one" / "weights", tmp_path / "one", workers=1, options=SMALL).run() == 0


def test_a_folder_without_them_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded("open-weights", "train,apply", Rebuild(tmp_path).run) == 1
    assert "none of nurse-stress-e4, exam-stress-e4" in capsys.readouterr().err
