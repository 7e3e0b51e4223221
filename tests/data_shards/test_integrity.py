"""A cohort store with a changed, lost or foreign byte: detected, refused or harmless, never used silently."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from zarr.codecs import BloscCodec

from data_shards.cohort import integrity, store, stored
from data_shards.cohort.store import Cohort
from data_shards.cohort.verify_cohort import verify_cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import writer
from data_shards.shards.shard_plan import ShardOptions
from data_shards.shards.signal_hours import SignalHours
from harnet.errors import HarnetError
from tests.conftest import add_recording

FLIPS = 60


@pytest.fixture
def small(tmp_path: Path) -> Cohort:
    """Two recordings, one of two hours."""
    made = Cohort.create(tmp_path / "cohort.zarr")
    add_recording(made, "p0", 0, first_second=3000, seconds=1500, first_hour=20)
    add_recording(made, "p1", 1, first_second=100, seconds=600, first_hour=21)
    return made


def everything(root: Path) -> list[object]:
    """Everything that the programs read from a store, through every access path."""
    cohort = Cohort.open(root)
    found: list[object] = [[asdict(info) for info in cohort.infos()]]
    for name in cohort.recordings():
        opened = cohort.open_recording(name)
        signal = SignalHours(opened)
        data = opened.read_hours(0, opened.info.hours)
        found.append(asdict(opened.info))
        found += [array.tobytes() for array in (data.accel, data.motion, data.wear)]
        found += [signal.read(hour).tobytes() for hour in range(opened.info.hours)]
        found += [opened.read_motion().tobytes(), opened.read_wear().tobytes()]
    return found


def test_no_flipped_bit_is_used_in_silence(small: Cohort) -> None:
    random = np.random.default_rng(15)
    sound = everything(small.root)
    files = sorted(path for path in small.root.rglob("*") if path.is_file())
    sizes = np.array([path.stat().st_size for path in files], float)
    refusals = []
    for number in range(FLIPS):
        # Half of the flips choose a file with equal probability; else the few bytes of metadata would never be hit.
        weights = sizes / sizes.sum() if number % 2 else np.full(len(files), 1 / len(files))
        path = files[random.choice(len(files), p=weights)]
        before = path.read_bytes()
        content, bit = bytearray(before), int(random.integers(8 * len(before)))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        harmless = False
        try:
            harmless = everything(small.root) == sound
            assert harmless, f"bit {bit} of {path} changed what is read"
        except HarnetError as error:
            refusals.append(str(error))
        if path.parent != small.root and path.parent.name != ".index":
            # White space between the values of a zarr.json is not covered by the seal.
            assert verify_cohort(small.root).problems or (harmless and path.name == "zarr.json"), f"bit {bit} of {path}"
        path.write_bytes(before)
    assert len(refusals) > FLIPS // 2
    assert all(str(small.root) in text and "\n" not in text for text in refusals)
    assert everything(small.root) == sound
    assert not verify_cohort(small.root).problems


@pytest.mark.parametrize("array", ["accel", "motion", "wear"])
def test_a_lost_file_is_not_taken_for_one_that_holds_nothing(small: Cohort, array: str) -> None:
    path = next(path for path in (small.root / "p0-0" / array / "c").rglob("*") if path.is_file())
    path.unlink()
    with pytest.raises(HarnetError, match=rf"{path}: missing: copy the recording again"):
        small.open_recording("p0-0")
    assert [problem.what for problem in verify_cohort(small.root).problems] == ["missing"]


def test_verify_lists_what_is_foreign_or_in_the_wrong_place(small: Cohort) -> None:
    (small.root / "notes.txt").write_text("?")
    (small.root / "p0-0" / "more").write_text("?")
    (small.root / "p1-1").rename(small.root / "p2-1")
    report = verify_cohort(small.root, workers=2)
    found = {Path(problem.where).name: problem.what for problem in report.problems}
    assert found == {
        "notes.txt": "not a recording or part of the store",
        "more": "not part of this recording",
        "p2-1": "holds the recording p1-1",
    }
    assert (report.recordings, report.unsealed) == (2, 0)


def test_stores_without_checksums_are_read_as_before(
    small: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "FORMAT", 2)
        patch.setattr(integrity, "seal", lambda _: None)
        blosc = {"cname": "zstd", "clevel": 5, "shuffle": "bitshuffle"}
        patch.setattr(stored, "_compressors", lambda kind: (BloscCodec(**blosc, typesize=kind.itemsize),))
        old = Cohort.create(tmp_path / "old.zarr")
        add_recording(old, "p0", 0, first_second=3000, seconds=1500, first_hour=20)
    # A store that grows can have both kinds.
    add_recording(Cohort.create(old.root), "p1", 1, first_second=100, seconds=600, first_hour=21)
    assert everything(old.root) == everything(small.root)
    report = verify_cohort(old.root)
    assert (report.problems, report.recordings, report.unsealed) == ((), 2, 1)
    options = ShardOptions(quality=POLICIES["none"])
    for cohort, name in ((old, "a"), (small, "b")):
        writer.write_shards(cohort, tmp_path / name, options)
    for path in (tmp_path / "a").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    path = old.root / "p0-0" / "accel" / "c" / "0" / "0"
    path.write_bytes(path.read_bytes()[:-30])
    assert "p0-0" in str(verify_cohort(old.root).problems[0])


def test_a_copy_is_as_good(small: Cohort, tmp_path: Path) -> None:
    """The seal does not cover what a copy changes: file times and the order of folders."""
    copy = shutil.copytree(small.root, tmp_path / "copy.zarr", copy_function=shutil.copyfile)
    assert everything(copy) == everything(small.root)
    assert not verify_cohort(copy).problems
