import gc
import io
import pickle
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, writer
from data_shards.shards.writer import ShardOptions
from data_shards.stream.shard_files import Shards
from data_shards.stream.third_party import to_webdataset, windows

MEMBERS = ["about.json", "accel.npy", "motion.npy", "wear.npy"]

# webdataset leaves closing the tars to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    # Collect here rather than in the middle of an unrelated test.
    gc.collect()


@pytest.fixture(scope="module", params=["none", "zstd"])
def made(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("third") / "shards"
    options = ShardOptions(blocks_per_shard=4, quality=POLICIES["none"], compression=request.param)
    writer.write_shards(cohort, folder, options)
    return folder


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_webdataset_pipeline_yields_what_we_read(made: Path, split: str) -> None:
    contents = manifest.read(made)
    found = list(to_webdataset(made, split))
    rows = contents.rows(split).tolist()
    assert [sample["__key__"] for sample in found] == [contents.key_of(row) for row in rows]
    with Shards(contents) as shards:
        for sample, row in zip(found, rows, strict=True):
            for ours, name in zip(shards.read(row), ("accel", "motion", "wear"), strict=True):
                np.testing.assert_array_equal(sample[name], ours)
            assert sample["about"]["hour"] == contents.columns["hour"][row]


def test_windows_are_worn_and_apart(made: Path) -> None:
    sample = next(iter(to_webdataset(made)))
    cut = list(windows(sample, 10))
    assert 0 < len(cut) <= len(sample["wear"]) // 10
    assert all(window.shape == (3, 300) and (window != -32768).all() for window in cut)
    assert len(list(windows(sample, 10, every=1))) > 5 * len(cut)


def test_stock_webdataset_alone_reads_uncompressed_shards(shards: Path) -> None:
    contents = manifest.read(shards)
    urls = sorted(map(str, shards.glob("train-*.tar")))
    found = list(wds.WebDataset(urls, shardshuffle=False).decode(only=MEMBERS))
    assert len(found) == len(contents.rows("train"))
    with Shards(contents) as files:
        for sample, row in zip(found, contents.rows("train").tolist(), strict=True):
            np.testing.assert_array_equal(sample["accel.npy"], files.read(row)[0])
            assert sample["about.json"]["rate_hz"] == 30


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_member_that_would_run_a_program_stays_bytes(shards: Path, tmp_path: Path) -> None:
    """webdataset's own decoders would execute it: the test checks that first."""
    copy, made = shutil.copytree(shards, tmp_path / "shards"), tmp_path / "made"
    bomb = pickle.dumps(Bomb(made))
    tars = sorted(copy.glob("train-*.tar"))
    for path in tars:
        with tarfile.open(path) as tar:
            key = tar.getnames()[0].partition(".")[0]
            members = [(tar.getmember(name), tar.extractfile(name).read()) for name in tar.getnames()]
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, ending in enumerate(("accel.pyd", "more.pkl", "weights.pth")):
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(bomb)
                members.insert(number, (info, bomb))
            for info, content in members:
                tar.addfile(info, io.BytesIO(content))
    urls = list(map(str, tars))
    with pytest.raises(wds.autodecode.DecodingError):
        list(wds.WebDataset(urls, shardshuffle=False).decode())
    assert made.exists(), "or the test tries nothing"
    made.unlink()
    found = [*to_webdataset(copy), *wds.WebDataset(urls, shardshuffle=False).decode(only=MEMBERS)]
    assert not made.exists()
    assert found[0]["accel.pyd"] == found[0]["weights.pth"] == bomb
    assert found[0]["accel"].dtype == np.int16
