import sys
from pathlib import Path

import pytest

from harnet.errors import HarnetError
from pretrain.run import tracking
from pretrain.run.tracking import TrackingConfig

STAND_IN = """
calls = []
def init(**options): calls.append(("init", options))
def log(values): calls.append(("log", values))
def finish(): calls.append(("finish", None))
"""


@pytest.mark.parametrize("service", ["wandb", "trackio"])
def test_the_numbers_go_to_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """The services need an account and a network; the three functions that we use have these names in both."""
    (tmp_path / f"{service}.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, service, raising=False)
    run = tmp_path / "first"
    tracker = tracking.create_tracker(TrackingConfig(service, "cohort"), run, {"config": {"run": {"seed": 3}}})
    assert tracker is not None
    tracker.write("train", 7, {"loss": 0.5})
    tracker.close()
    (_, options), logged, closed = sys.modules[service].calls
    assert (options["project"], options["name"], options["resume"]) == ("cohort", "first", "allow")
    assert options["config"] == {"config": {"run": {"seed": 3}}}
    assert ("id" in options) == (service == "wandb")
    assert logged == ("log", {"train/loss": 0.5, "step": 7})
    assert closed[0] == "finish"
    del sys.modules[service]


def test_a_run_folder_is_one_run_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    for run in (tmp_path / "first", Path("first"), tmp_path / "second"):
        tracking.create_tracker(TrackingConfig("wandb"), run, {})
    ids = [options["id"] for _, options in sys.modules["wandb"].calls]
    assert ids[0] == ids[1] != ids[2]
    del sys.modules["wandb"]


def test_without_a_service_there_is_none(tmp_path: Path) -> None:
    assert tracking.create_tracker(TrackingConfig(), tmp_path, {}) is None


def test_a_service_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(HarnetError, match="pip install trackio"):
        tracking.create_tracker(TrackingConfig("trackio"), tmp_path, {})
