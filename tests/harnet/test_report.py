"""The report page: self-contained, faithful to the numbers, safe with any label text, rendered by a browser."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from matplotlib.markers import MarkerStyle

from harnet.errors import HarnetError
from harnet.evaluation.arms import ARMS, FUSED
from harnet.evaluation.result_tables import write_tables
from harnet.evaluation.trials import Budget, Trial
from harnet.files import write_atomically
from harnet.report import figures
from harnet.report.report_inputs import read_run_log
from harnet.report.report_page import ReportConfig, verdict, write_page
from launch.cli import main

CLASSES = ["<script>alert(1)</script>", "climb stairs", "walk"]
LEVELS = {"forest": 0.8, "scratch": 0.5, "frozen": 0.4, "fine-tuned": 0.7}


def write_piece(out: Path, piece: Trial, level: float, random: np.random.Generator) -> None:
    """A finished piece with scores near `level`, in the format of `run_piece`."""
    people = []
    for person in range(2):
        f1 = float(np.clip(level + 0.05 * random.standard_normal(), 0, 1))
        counts = np.eye(3, dtype=int) * 20 + random.integers(0, 4, (3, 3))
        row = {"person": f"person-{piece.fold}{person}", "windows": 60, "macro_f1": f1, "kappa": f1 - 0.1}
        people.append({**row, "confusion": counts.tolist()})
    training = None if piece.arm == "forest" else {"steps": 36, "kept": 6, "steps_per_epoch": 6}
    result = {"dataset": piece.dataset, "protocol": piece.protocol, "arm": piece.arm, "seed": piece.seed,
              "fold": piece.fold, "budget": str(piece.budget), "training": training, "people": people}  # fmt: skip
    path = piece.path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(result))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two data sets in the format of the suite, without hours of training."""
    out, random = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    points = [("robust", Budget("all")), ("published", Budget("all")), ("robust", Budget("people", 1)),
              ("robust", Budget("people", 2))]  # fmt: skip
    for dataset in ("home", "lab"):
        for protocol, budget in points:
            for arm, level in LEVELS.items():
                for fold in range(3):
                    write_piece(out, Trial(dataset, protocol, arm, 0, fold, budget), level, random)
    facts = {
        name: {"digest": "0", "windows": 360, "people": 6, "classes": CLASSES, "folds": [], "folds_from": "dealt",
               "described": {"title": name, "device": f"{name} watch", "source": "nobody", "licence": "none"}}
        for name in ("home", "lab")
    }  # fmt: skip
    settings = {"weights": "ab" * 32, "torch": "2", "device": "cpu", "threads": 1, "data": facts}
    weights = json.dumps({"architecture": "harnet10", "provenance": {"objective": "multitask"}, "preprocessing": {}})
    write_tables(out, settings, weights)
    (out / "features").mkdir()
    for name in facts:
        np.save(out / "features" / f"{name}-encoder.npy", random.standard_normal((360, 16)).astype(np.float32))
    return out


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("home", "lab"):
        (folder / name).mkdir()
        np.save(folder / name / "Y.npy", np.array(CLASSES)[np.arange(360) % 3])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for step in range(10, 60, 10):
        rows.append(
            {"kind": "train", "step": step, "loss": 1 / step, "accuracy/reversal": 0.5, "windows_per_second": 9}
        )
        rows.append({"kind": "heldout", "step": step, "loss": 2 / step, "accuracy/reversal": 0.6})
    rows.append({"kind": "probe", "step": 50, "linear_macro_f1": 0.4})
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"kind": "tra')
    return folder


@pytest.fixture(scope="module")
def page(results: Path, labelled: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page") / "sub" / "report.html"
    flow = made.parents[1] / "flow.json"
    flow.write_text(json.dumps({"recordings": 40, "kept": 36, "worn_hours": 1234.56, "excluded": {"wear time": 4}}))
    assert write_page(ReportConfig(results, made, run, labelled, flow)) == []
    return made


class Tags(html.parser.HTMLParser):
    """Counts of tags, attribute values, text, and whether all tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.values: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.values += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_fetches_nothing(page: Path) -> None:
    tags = Tags(page.read_text())
    assert tags.open == []
    assert "script" not in tags.count
    for _, name, value in tags.values:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith(("data:", "#")), value
    assert "default-src 'none'" in page.read_text()
    # Four tables of arms, two curves, two planes, and loss, accuracy and probe.
    assert tags.count["svg"] == 4 + 2 + 2 + 3


def test_labels_of_a_data_set_are_text(page: Path) -> None:
    text = page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text


def test_the_numbers_are_those_of_the_results(page: Path, results: Path) -> None:
    shown = " ".join(Tags(page.read_text()).text.split())
    found = json.loads((results / "results.json").read_text())
    for table in found["tables"]:
        if table["budget"] == "all":
            for row in table["arms"]:
                values = row["macro_f1"]
                assert f"{values['mean']:.3f} [{values['low']:.3f}, {values['high']:.3f}]" in shown
    for expected in ("1,234.6", "excluded: wear time", "abab", "multitask", "home watch"):
        assert expected in shown
    assert "stops after five epochs without improvement, here 30 steps" in shown
    assert "person-0" not in shown, "people are ticks, not names"


def test_it_claims_nothing_that_an_interval_does_not_allow(page: Path) -> None:
    row: dict[str, Any] = {"one": "frozen", "other": "forest"}
    assert verdict({**row, "low": 0.01, "high": 0.2}) == "frozen better"
    assert verdict({**row, "low": -0.2, "high": -0.01}) == "forest better"
    assert verdict({**row, "low": -0.2, "high": 0.0}) == "inconclusive"
    assert "forest better" in page.read_text()
    assert "scratch better" not in page.read_text(), "nobody asks whether frozen beats scratch"


def test_the_same_results_give_the_same_page(page: Path, results: Path, run: Path, labelled: Path) -> None:
    again = page.with_name("again.html")
    write_page(ReportConfig(results, again, run, labelled, page.parents[1] / "flow.json"))
    assert again.read_bytes() == page.read_bytes()


def test_what_is_lacking_is_said(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", str(results), "--out", str(tmp_path / "p.html"), "--data", str(tmp_path)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "no pretraining curves" in shown
    assert "no feature plot" in shown
    assert main([*arguments, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["lacking"]) == 3
    assert main(["report", str(tmp_path)]) == 1
    assert "run harnet evaluate first" in capsys.readouterr().err
    assert main(["report", str(results), str(tmp_path)]) == 1
    assert "log.jsonl: missing" in capsys.readouterr().err
    assert main([*arguments[:2], "--out", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_a_data_set_of_another_length_is_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    np.save(tmp_path / "home" / "Y.npy", np.array(["a", "b"]))
    with pytest.raises(HarnetError, match="not the same data set"):
        write_page(ReportConfig(results, tmp_path / "p.html", data=tmp_path))


def test_a_log_that_was_cut_is_read_to_its_last_whole_line(run: Path) -> None:
    assert [row["step"] for row in read_run_log(run)][-2:] == [50, 50]


def test_a_browser_shows_it_without_complaint(page: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium on the PATH")
    shot = tmp_path / "page.png"
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars"]  # fmt: skip
    command = [chromium, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--window-size=1100,1600", page.as_uri()]
    done = subprocess.run([*command, f"--screenshot={shot}"], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert shot.read_bytes().startswith(b"\x89PNG")
    assert shot.stat().st_size > 50_000, "not an empty page"
    dumped = subprocess.run([*command, "--dump-dom"], capture_output=True, text=True, timeout=120, check=True).stdout
    assert len(re.findall("<svg", dumped)) == 11


def test_arms_differ_by_a_marker_that_a_white_edge_does_not_hide() -> None:
    assert len(set(figures.MARKERS.values())) == len(ARMS)
    assert all(MarkerStyle(marker).is_filled() for marker in figures.MARKERS.values())
    assert {figures.COLOURS[arm] for arm in FUSED} <= {figures.COLOURS[arm] for arm in ARMS if arm not in FUSED}
