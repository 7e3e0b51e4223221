"""Epoch plans of a run, computed once per node and memory-mapped by all its processes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data_shards.shards.manifest import Manifest
from data_shards.stream import expectation, keyed, plan
from data_shards.stream.node_cache import NodeCache
from data_shards.stream.plan import EpochPlan, OrderConfig, plan_epoch, steps_per_epoch

_SOURCES = tuple(Path(str(module.__file__)).read_bytes() for module in (plan, expectation, keyed))
"""Part of the cache key: plans made by another version of the code are not reused."""


class Planner:
    """Plans of the epochs of one split, for one manifest and order."""

    def __init__(self, manifest: Manifest, split: str, order: OrderConfig, cache: NodeCache) -> None:
        self._manifest, self._split, self._order, self._cache = manifest, split, order, cache
        settings = json.dumps([manifest.digest, split, asdict(order)], sort_keys=True).encode()
        self._key = hashlib.sha256(b"\n".join([settings, *_SOURCES])).hexdigest()[:32]

    @property
    def steps(self) -> int:
        """Global batches in every epoch.

        Raises:
            HarnetError: the split has less than one global batch.
        """

        def make(_: Path) -> Mapping[str, Any]:
            return {"steps": steps_per_epoch(self._manifest, self._split, self._order)}

        return int(self._cache.get(f"steps-{self._key}", make).facts["steps"])

    def plan(self, epoch: int) -> EpochPlan:
        """The order of epoch number `epoch`.

        Raises:
            HarnetError: the split has less than one global batch.
        """

        def make(folder: Path) -> Mapping[str, Any]:
            planned = plan_epoch(self._manifest, self._split, self._order, epoch)
            np.save(folder / "rows.npy", planned.rows)
            np.save(folder / "ends.npy", planned.ends)
            return {"steps": planned.steps}

        entry = self._cache.get(f"plan-{self._key}-{epoch}", make)
        return EpochPlan(entry.array("rows"), entry.array("ends"), int(entry.facts["steps"]), epoch, self._order)
