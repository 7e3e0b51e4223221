"""Failing storage, and more shards than a process may open: the windows stay the same, or the run stops."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, writer
from data_shards.shards.shard_plan import ShardOptions
from data_shards.stream import descriptors, retries, shard_files
from data_shards.stream.damage import DamagedBlock
from data_shards.stream.plan import OrderConfig, plan_epoch
from data_shards.stream.reader import LaneReader
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.shard_files import Shards
from data_shards.stream.storage import LocalStorage, Missing
from harnet.errors import HarnetError, Unreachable

ORDER = OrderConfig(window_seconds=10, batch=48, lanes=12, seed=1, windows_per_visit=16, shuffle_windows=100)
QUICK = RetryPolicy(seconds=0.5, first_pause=0.01)


def digest(folder: Path, storage: LocalStorage | None = None) -> str:
    """Digest of all windows of an epoch; damage is not allowed."""
    contents = manifest.read(folder)
    found = hashlib.sha256()
    with Shards(contents, storage, QUICK) as shards:
        for batch in LaneReader(shards, ORDER, range(12), max_damaged=0.0).batches(
            plan_epoch(contents, "train", ORDER, 0)
        ):
            found.update(batch.windows.tobytes())
    return found.hexdigest()


def digest_elsewhere(folder: Path, before: str) -> str:
    """`digest` in a process prepared by a shell command."""
    program = "import sys, pathlib, tests.data_shards.test_retries as t; print(t.digest(pathlib.Path(sys.argv[1])))"
    command = ["bash", "-c", f'{before} exec "$0" -c "$1" "$2"', sys.executable, program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def many(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 shards of one block each: the same few shards under many names."""
    folder = tmp_path_factory.mktemp("many") / "shards"
    writer.write_shards(cohort, folder, ShardOptions(blocks_per_shard=1, quality=POLICIES["none"]))
    few = manifest.read(folder)
    table = manifest.read_table(folder / manifest.FILE_NAME)
    mine = [number for number, shard in enumerate(few.shards) if shard.split == "train"]
    shards, pieces = [], []
    for number in range(300):
        shard = few.shards[mine[number % len(mine)]]
        copy = replace(shard, name=f"train-{number + 1000:06d}.tar")
        shutil.copy(folder / shard.name, folder / copy.name)
        rows = table.filter(pa.compute.equal(table["shard"], mine[number % len(mine)]))
        # Shift the days, so that no day has the same hours many times.
        hour = pa.array(rows["hour"].to_numpy() + 24 * number, pa.int32())
        rows = rows.set_column(0, manifest.SCHEMA.field("shard"), pa.array([number] * len(rows), pa.int32()))
        pieces.append(rows.set_column(6, manifest.SCHEMA.field("hour"), hour))
        shards.append(copy)
    manifest.write(folder, pa.concat_tables(pieces), tuple(shards), dict(few.provenance))
    return folder


def test_few_descriptors_are_enough_for_many_shards(many: Path) -> None:
    contents = manifest.read(many)
    rows = plan_epoch(contents, "train", ORDER, 0).rows
    assert len(np.unique(contents.columns["shard"][rows])) > 150, "or the test tries nothing"
    assert digest_elsewhere(many, "ulimit -n 64;") == digest(many)


def test_what_others_have_opened_is_respected(many: Path) -> None:
    """With few file descriptors left a process closes its own; with none left it says which limit to raise."""
    hog = 'exec 60</dev/null; ulimit -n 64; for i in $(seq 20 59); do eval "exec $i</dev/null"; done;'
    assert digest_elsewhere(many, hog) == digest(many)
    files = descriptors.OpenFiles(many, 4)
    names = sorted(path.name for path in many.glob("*.tar"))
    held = [files.get(name) for name in names[:8]]
    assert len({file.descriptor for file in held}) == 8, "what is in use stays open"
    first = held[0].descriptor
    del held
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)
    files.close()


def test_no_descriptor_at_all_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(descriptors.os, "open", full)
    with pytest.raises(HarnetError, match="ulimit -n 65536"):
        descriptors.OpenFiles(tmp_path).get("train-000000.tar")


FAULTY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/uio.h>
static int calls, codes[] = {EIO, ESTALE, ETIMEDOUT, EREMOTEIO};
/* Python calls one or the other, as its C library has it. */
ssize_t preadv64v2(int fd, const struct iovec *to, int count, off64_t offset, int flags) {
    static ssize_t (*real)(int, const struct iovec *, int, off64_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "preadv64v2");
    if (++calls % 3 == 0) { errno = codes[calls / 3 % 4]; return -1; }
    return real(fd, to, count, offset, flags);
}
ssize_t preadv64(int fd, const struct iovec *to, int count, off64_t offset) {
    return preadv64v2(fd, to, count, offset, 0);
}
"""


def test_a_file_system_that_fails_now_and_then_changes_nothing(shards: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, for a C library whose reads fail")
    (tmp_path / "faulty.c").write_text(FAULTY)
    command = ["gcc", "-shared", "-fPIC", "-o", tmp_path / "faulty.so", tmp_path / "faulty.c", "-ldl"]
    subprocess.run(command, check=True)
    before = f"export LD_PRELOAD={tmp_path}/faulty.so;"
    program = "import os; fd = os.open('/bin/sh', 0); [os.preadv(fd, [bytearray(1)], 0) for _ in range(4)]"
    done = subprocess.run(["bash", "-c", f'{before} {sys.executable} -c "{program}"'], capture_output=True, text=True)
    assert "OSError" in done.stderr, "or the test tries nothing"
    assert digest_elsewhere(shards, before) == digest(shards)


class Failing(LocalStorage):
    """Fails at the given reads."""

    def __init__(self, folder: Path, faults: Iterator[Exception | None]) -> None:
        super().__init__(folder)
        self._faults = faults

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        fault = next(self._faults, None)
        if fault is not None:
            raise fault
        super().read_into(name, offset, out)


def test_pauses_double_up_to_the_longest_and_the_last_attempt_is_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses, calls = [0.0], [], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    def fail() -> None:
        calls.append("read")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(retries, "_JITTER", SimpleNamespace(uniform=lambda low, high: high))
    policy = RetryPolicy(seconds=90, first_pause=1, longest_pause=20)
    with pytest.raises(Unreachable, match=r"x: could not be read for 1.5 min \(Input/output error\)"):
        policy.read(fail, "x", lambda: calls.append("again"))
    assert pauses == [1, 2, 4, 8, 16, 20, 20, 19]
    assert calls == ["read", "again"] * 8 + ["read"]
    with pytest.raises(OSError, match="Input/output error"):
        policy.read(fail, "x", retryable=(Missing,))
    assert len(pauses) == 8, "what is not retryable is raised at once"


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), Missing("it is missing")])
def test_what_lasts_stops_the_run_and_names_the_shard(shards: Path, fault: Exception) -> None:
    contents = manifest.read(shards)
    for _ in range(2):
        storage = Failing(shards, iter(lambda: fault, None))
        with (
            Shards(contents, storage, QUICK) as files,
            pytest.raises(Unreachable, match=r"train-0.*\.tar: could not be read for 0.5 s \(.*the same command"),
        ):
            list(LaneReader(files, ORDER, range(12), max_damaged=1.0).batches(plan_epoch(contents, "train", ORDER, 0)))


def test_faults_between_two_looks_at_wrong_bytes_are_waited_for(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that fails or reads wrong once, then reads right, is sound; if wrong twice, it is damaged."""
    monkeypatch.setattr(shard_files, "_PAUSE", 0.01)
    contents = manifest.read(shards)

    class Wrong(Failing):
        wrong = 1

        def read_into(self, name: str, offset: int, out: memoryview) -> None:
            super().read_into(name, offset, out)
            if self.wrong:
                self.wrong -= 1
                out[500] ^= 1

    stale = [OSError(errno.ESTALE, "Stale file handle"), None, OSError(errno.EIO, "x"), OSError(errno.EIO, "x"), None]
    with Shards(contents, Wrong(shards, iter(stale)), QUICK) as files, Shards(contents) as sound:
        np.testing.assert_array_equal(files.read(0)[0], sound.read(0)[0])
    storage = Wrong(shards, iter([None, *stale]))
    storage.wrong = 2
    with Shards(contents, storage, QUICK) as files, pytest.raises(DamagedBlock, match="do not match the manifest"):
        files.read(0)


def test_the_soft_limit_is_raised_to_what_is_allowed() -> None:
    program = (
        "import resource; from data_shards.stream.descriptors import raise_limit; raise_limit(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    command = ["bash", "-c", 'ulimit -Sn 100; ulimit -Hn 300; exec "$0" -c "$1"', sys.executable, program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "(300, 300)"
