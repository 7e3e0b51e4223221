"""What a resumed run keeps of its log, and what it says to TensorBoard."""

import os
from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from harnet.run_folder import LOG, read_log
from pretrain.run.log import JsonLines, Log, TensorBoard


def test_a_resumed_log_keeps_what_will_not_be_repeated(tmp_path: Path) -> None:
    before = JsonLines(tmp_path, 0)
    for step in (1, 2, 3):
        before.write("train", step, {"loss": step})
        before.write("heldout", step, {"loss": step})
    with (tmp_path / LOG).open("a") as file:
        file.write('{"kind": "train", "st')
    after = JsonLines(tmp_path, 2)
    assert [(row["kind"], row["step"]) for row in read_log(tmp_path)] == [("train", 1), ("heldout", 1), ("train", 2)]
    after.write("heldout", 2, {"loss": 0.5})
    assert read_log(tmp_path)[-1] == {"kind": "heldout", "step": 2, "loss": 0.5}


def test_a_line_is_on_the_disk_once_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, real = [], os.fsync
    written = JsonLines(tmp_path, 0)

    def fsync(descriptor: int) -> None:
        real(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    written.write("train", 1, {"loss": 2.0})
    assert sizes == [(tmp_path / LOG).stat().st_size]
    assert sizes[0] > 0


def test_curves_are_cut_where_a_run_resumes(tmp_path: Path) -> None:
    with Log([TensorBoard(tmp_path, 4), TensorBoard(tmp_path / "other", 0)]) as log:
        log.write("heldout", 5, {"loss": 0.25})
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = [Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]
    assert [event.step for event in events if event.session_log.status == SessionLog.START] == [5]
    points = [(value.tag, event.step) for event in events for value in event.summary.value]
    assert points == [("heldout/loss", 5)]
    assert list((tmp_path / "other" / "tensorboard").iterdir()), "every sink receives it"
