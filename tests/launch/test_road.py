"""The whole pipeline by its commands: from a table of numbers to weights that independent code loads."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import harnet
from launch.cli import main

RUN = (
    *("--model.architecture", "harnet5", "--run.precision", "fp32", "--run.device", "cpu", "--run.steps", "6"),
    *("--optimizer.warmup-steps", "2", "--data.batch", "8", "--data.lanes", "4", "--data.workers", "0"),
    *("--data.windows-per-visit", "16", "--data.heldout-windows", "8", "--run.log-every", "2"),
)


def write_recordings(folder: Path) -> None:
    """Ten people with two minutes each at 50 Hz, one of them with a gap of ten seconds."""
    folder.mkdir()
    for person in range(10):
        random = np.random.default_rng(person)
        time = 1_600_000_000 + np.arange(6000) / 50
        if person == 3:
            time[3000:] += 10
        walk = 0.3 * np.sin(2 * np.pi * 1.8 * time) * np.sin(2 * np.pi * time / 40)
        signal = np.stack([walk, 0.5 * walk, 1 + walk], axis=1) + random.normal(0, 0.01, (6000, 3))
        rows = "\n".join(f"{t:.3f},{x:.4f},{y:.4f},{z:.4f}" for t, (x, y, z) in zip(time, signal, strict=True))
        (folder / f"person{person}.csv").write_text("time,x,y,z\n" + rows + "\n")


def test_from_recordings_to_weights_that_others_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recordings(tmp_path / "recordings")
    cohort, shards, run, weights = (str(tmp_path / name) for name in ("cohort.zarr", "shards", "run", "weights"))
    assert main(["ingest", str(tmp_path / "recordings"), "--out", cohort]) == 0
    assert main(["shard", cohort, "--out", shards, "--quality", "none", "--split-salt", "road"]) == 0
    capsys.readouterr()
    assert main(["verify", shards, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    assert main(["pretrain", "--data.shards", shards, "--run.out", run, *RUN]) == 0
    assert main(["export", run, "--out", weights]) == 0

    encoder = harnet.load_encoder(weights)
    window = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    features = encoder(window).detach()
    assert features.shape == (2, 512, 1)

    about = json.loads((tmp_path / "weights" / "config.json").read_text())
    assert (about["training_steps"], about["architecture"], about["units"]) == (6, "harnet5", "g")
    assert about["manifest_digest"] == json.loads(summary_of(shards, capsys))["digest"]
    everything = "".join(
        path.read_text() for path in (tmp_path / "weights").iterdir() if path.suffix in (".json", ".md")
    )
    assert "person0" not in everything

    code = (
        "import sys\n"
        "for name in ('zarr', 'webdataset', 'pyarrow', 'scipy', 'tyro', 'tqdm', 'pretrain', 'data_shards'):\n"
        "    sys.modules[name] = None\n"
        f"import harnet, torch; print(float(harnet.load_encoder({weights!r})"
        "(torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))).detach().double().sum()))"
    )
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(float(theirs.stdout), float(features.double().sum()), rtol=1e-6)


def summary_of(shards: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    cohort = str(Path(shards).with_name("cohort.zarr"))
    assert main(["shard", cohort, "--out", shards, "--quality", "none", "--split-salt", "road", "--json"]) == 0
    return capsys.readouterr().out
