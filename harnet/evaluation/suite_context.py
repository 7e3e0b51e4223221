"""Data shared by the pieces of a suite, read once per process: weights, data sets, folds, features."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harnet import handcrafted
from harnet.datasets.parsed_dataset import FACTS
from harnet.determinism import deterministic_convolutions
from harnet.encoder import SEVERAL_STAGES
from harnet.evaluation.across import Across
from harnet.evaluation.arms import Inputs, Setting, SplitIndices, draw_classifier, encode
from harnet.evaluation.protocols import Protocol
from harnet.evaluation.splits import Split, fixed_folds, make_splits
from harnet.evaluation.trials import Trial, choose_rows
from harnet.files import atomic_path
from harnet.transfer.labelled_windows import LabelledWindows, read_windows
from harnet.weights.load import build_encoder, read_bundle

FEATURES = "features"
"""Folder of cached features; files are named after the data set and one of the following kinds."""
HANDMADE, LAST, STAGES = "handmade", "encoder", "stages"
"""Handcrafted features; those of the encoder's last stage, for the plot; those of several stages."""


@dataclass(frozen=True)
class SuiteInputs:
    """From where a process reads everything."""

    weights: str
    """Bundle folder or URL."""
    data: Path
    """Folder of data sets."""
    out: Path
    """Folder of the results and the cached features."""
    protocols: tuple[Protocol, ...]
    """Protocols of the suite."""
    threads: int
    """CPU threads per process."""
    device: str
    """Torch device of networks."""
    across: Across | None = None
    """Cross-dataset evaluation: the data sets to train on and to test on; the suite then has no others."""


class SuiteContext:
    """Inputs, read lazily and cached. HarnetError for weights or data that cannot be used."""

    def __init__(self, source: SuiteInputs) -> None:
        self.source = source
        self.bundle = read_bundle(source.weights)
        self._data = cache(self._read)
        self._inputs = cache(self._load)

    def data(self, name: str) -> LabelledWindows:
        """The windows of a data set."""
        return self._data(name)

    def inputs(self, name: str) -> Inputs:
        """The windows and features of a data set; call `prepare` first."""
        return self._inputs(name)

    def splits(self, name: str, protocol: Protocol) -> tuple[Split, ...]:
        """The folds of a data set."""
        if (pair := self.source.across) is not None:
            return (pair.split(self.data(name)),)
        people = self.data(name).people.tolist()
        return make_splits(people, protocol, fixed_folds(name, people)[0])

    def rows(self, piece: Trial) -> SplitIndices:
        """Windows that a piece learns from, stops by and is tested on."""
        return choose_rows(self.data(piece.dataset).people, self.split(piece), piece)

    def protocol(self, piece: Trial) -> Protocol:
        """The protocol of a piece."""
        (found,) = (protocol for protocol in self.source.protocols if protocol.name == piece.protocol)
        return found

    def split(self, piece: Trial) -> Split:
        """The people of a piece."""
        return self.splits(piece.dataset, self.protocol(piece))[piece.fold]

    def setting(self, protocol: Protocol) -> Setting:
        """What an arm needs besides its data."""
        return Setting(self.bundle, protocol.recipe, protocol.trees, self.source.threads, self.source.device)

    def facts(self, name: str) -> dict[str, Any]:
        """Metadata of a data set, as recorded in the settings, JSON-serialisable."""
        data = self.data(name)
        folds: tuple[tuple[str, ...], ...]
        if (pair := self.source.across) is not None:
            folds, origin = (pair.split(data).test,), f"everybody of {pair.test_on}"
            facts = pair.described(self.source.data)
        else:
            folds, origin = fixed_folds(name, data.people.tolist())
            path = self.source.data / name / FACTS
            facts = json.loads(path.read_text()) if path.exists() else {}
        return {
            "digest": data.digest,
            "windows": len(data.labels),
            "people": len(set(data.people.tolist())),
            "classes": list(data.classes),
            "folds": [list(fold) for fold in folds],
            "folds_from": origin,
            "described": facts,
        }

    def prepare(self, name: str) -> None:
        """Compute and store handcrafted features and those of the encoder, unless they exist."""
        data, folder = self.data(name), self.source.out / FEATURES
        folder.mkdir(exist_ok=True)
        if not (path := folder / f"{name}-{HANDMADE}.npy").exists():
            _store(path, handcrafted.features(data.windows))
        if not (path := folder / f"{name}-{STAGES}.npy").exists():
            with self.quiet():
                windows, encoder = torch.from_numpy(data.windows), build_encoder(self.bundle)
                found = encode(encoder, windows, self.source.device, SEVERAL_STAGES)
            _store(folder / f"{name}-{LAST}.npy", found[:, -encoder.architecture.features :])
            _store(path, found)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Context manager that sets this process's thread count and deterministic convolutions."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.source.threads)
        try:
            with deterministic_convolutions():
                yield
        finally:
            torch.set_num_threads(before)

    def _read(self, name: str) -> LabelledWindows:
        architecture = self.bundle.config.architecture
        if self.source.across is not None:
            return self.source.across.read(self.source.data, architecture)
        return read_windows(self.source.data / name, architecture)

    def _load(self, name: str) -> Inputs:
        folder = self.source.out / FEATURES
        made, stages = (np.load(folder / f"{name}-{kind}.npy", allow_pickle=False) for kind in (HANDMADE, STAGES))
        # One draw is kept: all arms and numbers of labels of a fold and seed use it in turn, and it may be gigabytes.
        return Inputs(self.data(name), made, stages, lru_cache(1)(partial(self._untrained, name)))

    def _untrained(self, name: str, seed: int) -> NDArray[np.float32]:
        encoder = draw_classifier(self.bundle, 1, seed).feature_extractor
        return encode(encoder, torch.from_numpy(self.data(name).windows), self.source.device, SEVERAL_STAGES)


def _store(path: Path, features: NDArray[np.float32]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, features, allow_pickle=False)
