"""A manifest carries checksums of its content: damage is refused by every reader, or has no effect."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_shards.shards import manifest
from data_shards.shards.manifest import FILE_NAME, Manifest
from data_shards.stream.node_cache import NodeCache
from data_shards.stream.shared_manifest import open_manifest
from harnet.errors import HarnetError


def said(contents: Manifest) -> tuple[object, ...]:
    columns = [contents.columns[name].tobytes() for name in manifest.SCHEMA.names]
    return contents.shards, tuple(contents.participants), tuple(contents.recordings), contents.provenance, *columns


def through_both(folder: Path, cache: Path) -> list[tuple[object, ...] | None]:
    """The results of both readers for a manifest; None where it is refused."""
    found: list[tuple[object, ...] | None] = []
    for read in (lambda: manifest.read(folder), lambda: open_manifest(str(folder), NodeCache.open(cache))):
        try:
            found.append(said(read()))
        except HarnetError:
            found.append(None)
    return found


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    shutil.copy(shards / FILE_NAME, tmp_path / "shards")
    return tmp_path / "shards"


def test_a_flipped_bit_is_refused_or_touches_nothing(copy: Path, tmp_path: Path) -> None:
    sound, _ = through_both(copy, tmp_path / "cache")
    assert sound is not None
    content, random = (copy / FILE_NAME).read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] ^= 1 << int(random.integers(8))
        (copy / FILE_NAME).write_bytes(damaged)
        for found in through_both(copy, tmp_path / "cache"):
            assert found in (None, sound)
            refused += found is None
    assert refused > 150


@pytest.mark.parametrize("column", ["motion_mass", "offset", "participant"])
def test_another_value_is_refused(copy: Path, tmp_path: Path, column: str) -> None:
    table = manifest.read_table(copy / FILE_NAME)
    values = table[column].combine_chunks()
    other = values.take(np.roll(np.arange(len(values)), 1))
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.schema.field(column), other), copy / FILE_NAME)
    for read in (lambda: manifest.read(copy), lambda: open_manifest(str(copy), NodeCache.open(tmp_path / "cache"))):
        with pytest.raises(HarnetError, match=f"its column {column} does not match its checksum"):
            read()


def test_manifests_of_earlier_versions_are_read(copy: Path, tmp_path: Path) -> None:
    sound = through_both(copy, tmp_path / "cache")
    table = manifest.read_table(copy / FILE_NAME)
    about = json.loads(table.schema.metadata[b"harnet_manifest"])
    del about["sums"]
    pq.write_table(table.replace_schema_metadata({"harnet_manifest": json.dumps(about)}), copy / FILE_NAME)
    assert through_both(copy, tmp_path / "cache") == sound
