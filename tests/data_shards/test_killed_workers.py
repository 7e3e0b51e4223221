"""A file whose reader process is killed is listed as refused and stops no other file."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data_shards.readers
from data_shards.cohort.store import Cohort
from data_shards.ingest.run import IngestOptions, ingest
from data_shards.readers import DeviceReader, Found, ReadOptions

MAGIC = b"kill with "


class Deadly(DeviceReader):
    """Reads files that name a signal; reading one sends that signal to the process."""

    kind = "deadly"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        return head.startswith(MAGIC)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        os.kill(os.getpid(), signal.Signals[path.read_text().split()[-1]])
        yield from ()


def table(path: Path, seed: int) -> None:
    """Twenty seconds of a device at rest."""
    times = 1_700_000_400 + np.arange(1000) / 50
    draws = np.random.default_rng(seed).normal([0, 0, 1], 0.05, (1000, 3))
    np.savetxt(path, np.column_stack([times, draws]), fmt="%.4f", delimiter=",", header="time,x,y,z", comments="")


def armed() -> IngestOptions:
    data_shards.readers.READERS = (Deadly(), *data_shards.readers.READERS)
    return IngestOptions()


@dataclass(frozen=True)
class Armed(IngestOptions):
    """Options that install the deadly reader in every process that receives them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return armed, ()


def test_a_file_that_kills_its_worker_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_shards.readers.READERS", (Deadly(), *data_shards.readers.READERS))
    (tmp_path / "in").mkdir()
    for number in range(2):
        table(tmp_path / "in" / f"good{number}.csv", number)
    names = ("SIGKILL", "SIGSEGV")
    for name in names:
        (tmp_path / "in" / f"bad-{name}.csv").write_bytes(MAGIC + name.encode())
    # One worker, as on a laptop: its run is not stopped either.
    outcomes, _ = ingest([tmp_path / "in"], tmp_path / "cohort.zarr", Armed())
    cohort = Cohort.open(tmp_path / "cohort.zarr")
    assert cohort.recordings() == ["good0", "good1"]
    refused = {Path(each.source).stem: each.reason for each in outcomes if each.status == "refused"}
    assert set(refused) == {f"bad-{name}" for name in names}
    for name in names:
        assert f"bad-{name}.csv: its process was killed by {name}" in refused[f"bad-{name}"]
    assert dict(cohort.unreadable()) == {each.source: each.reason for each in outcomes if each.status == "refused"}
    (tmp_path / "in" / "bad-SIGKILL.csv").unlink()
    table(tmp_path / "in" / "bad-SIGKILL.csv", 7)
    ingest([tmp_path / "in" / "bad-SIGKILL.csv"], tmp_path / "cohort.zarr", IngestOptions())
    assert [Path(source).stem for source, _ in cohort.unreadable()] == ["bad-SIGSEGV"]


def beyond_memory(*given: Any) -> Any:
    """The error that numpy raises for an array that is too large."""
    return np.empty(1 << 50)


def read_beyond_memory(*given: Any) -> Iterator[Found]:
    yield from beyond_memory()


@pytest.mark.parametrize(
    ("where", "fails"),
    [
        ("readers.table.Table.read", read_beyond_memory),
        ("ingest.preparation.PreparedRecording.__init__", beyond_memory),
        ("cohort.store.Cohort.write_hours", beyond_memory),
    ],
)
def test_a_file_that_needs_too_much_memory_is_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, fails: Any
) -> None:
    """Python's MemoryError, inside a reader and outside."""
    large, store = tmp_path / "large.csv", tmp_path / "cohort.zarr"
    table(large, 0)
    with monkeypatch.context() as patched:
        patched.setattr(f"data_shards.{where}", fails)
        ((outcome,), _) = ingest([large], store, IngestOptions())
    assert outcome.status == "refused"
    assert outcome.reason.startswith(f"{large}: not enough memory")
    assert Cohort.open(store).unreadable() == [(str(large), outcome.reason)]
    assert Cohort.open(store).recordings() == []
    ((outcome,), _) = ingest([large], store, IngestOptions())
    assert outcome.status == "ingested"
    assert Cohort.open(store).unreadable() == []
