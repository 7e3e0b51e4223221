"""The summary at the end of the demo, from results in the format of `harnet evaluate`."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from launch.demo import ARMS, conclusion, picture


def table(difference: tuple[float, float, float]) -> dict[str, Any]:
    mean, low, high = difference
    score = {"mean": 0.6, "low": 0.5, "high": 0.7}
    arms = {"one": "untrained-linear", "other": "frozen-linear", "metric": "macro_f1"}
    row = {**arms, "mean": -mean, "low": -high, "high": -low}
    return {"arms": [{"arm": arm, "macro_f1": score} for arm in ARMS], "differences": [row]}


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((0.1, 0.02, 0.2), "pretraining helps"),
        ((-0.1, -0.2, -0.02), "pretraining hurts"),
        ((0.0, -0.1, 0.1), "inconclusive"),
    ],
)
def test_the_words_are_those_of_the_interval(difference: tuple[float, float, float], said: str) -> None:
    line = conclusion(table(difference), 2)
    assert said in line
    assert f"{difference[0]:+.2f} [{difference[1]:+.2f}, {difference[2]:+.2f}]" in line


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    rows = [{"kind": kind, "step": step, "loss": 0.6} for step in (10, 20) for kind in ("train", "heldout")]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    picture(tmp_path, {1: table((0.1, 0.0, 0.2)), 9: table((0.1, 0.0, 0.2))}, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes()[:4] == b"\x89PNG"
