"""`config.json` of a bundle: what a reader must know to use the weights, and where they came from."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from harnet.encoder import PUBLISHED_WIDTH, SAMPLING_RATE, find_architecture
from harnet.errors import HarnetError

FORMAT = "harnet weights 1"
"""Written as "format" into every config.json; another value is another layout."""

Normalisation = Literal["none", "standardised window"]


@dataclass(frozen=True)
class BundleConfig:
    """Everything in `config.json` but its format line. HarnetError where a value cannot be right."""

    architecture: str
    """Name in `harnet.encoder.ARCHITECTURES`."""
    window_seconds: int
    """Length of an input window in seconds; fixed by the architecture."""
    normalisation: Normalisation
    """What the encoder does to a window inside `forward`: nothing, or `harnet.encoder.standardise_window`."""
    width: int = PUBLISHED_WIDTH
    """Channels of the encoder's first stage; left out of config.json at the published width."""
    sampling_rate: int = SAMPLING_RATE
    """Samples per second of an input window."""
    units: str = "g"
    """Units of an input window; 1 g = 9.80665 m/s²."""
    preprocessing: dict[str, str] = field(default_factory=dict)
    """What was done to recordings before windows were cut, step -> description (resampling filter, calibration)."""
    manifest_digest: str = ""
    """Digest of the shard manifest that the encoder was trained on; empty if it was not trained on shards."""
    training_steps: int = 0
    """Optimiser steps of pretraining."""
    git_revision: str = ""
    """Revision of the training code; empty if unknown."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """People and person-days (counts), windows drawn, objective, held-out metrics, versions, seed, batch: numbers,
    text, or one further level of the same. Lists are refused, so that no list of participants can end up here."""
    data_use_terms: str = ""
    """What the data's owner allows to be done with weights trained on them."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the classifier's outputs, of a fine-tuned model; empty for a pretrained encoder."""

    def __post_init__(self) -> None:
        expected = find_architecture(self.architecture, self.width).seconds
        if self.window_seconds != expected:
            raise HarnetError(f"window_seconds {self.window_seconds!r}: {self.architecture} takes {expected} s")
        if self.sampling_rate != SAMPLING_RATE:
            raise HarnetError(f"sampling_rate {self.sampling_rate!r}: must be {SAMPLING_RATE}")
        if self.units != "g":
            raise HarnetError(f"units {self.units!r}: must be 'g'")
        if self.normalisation not in get_args(Normalisation):
            raise HarnetError(f"normalisation {self.normalisation!r}: one of {', '.join(get_args(Normalisation))}")
        if any(not isinstance(name, str) for name in self.classes) or len(set(self.classes)) != len(self.classes):
            raise HarnetError(f"classes {self.classes!r}: must be different names")
        _check_provenance(self.provenance, "provenance", levels=2)

    @property
    def standardise(self) -> bool:
        """The `Encoder` argument that `normalisation` stands for."""
        return self.normalisation == "standardised window"

    def to_json(self) -> str:
        """Text of config.json: the same for the same config, whatever the order of its dictionaries."""
        entries = {"format": FORMAT, **asdict(self)}
        if self.width == PUBLISHED_WIDTH:
            # So that weights of the published width stay readable by versions that know no other.
            del entries["width"]
        return json.dumps(entries, indent=2, sort_keys=True, allow_nan=False) + "\n"


def parse_config(text: str | bytes, where: str) -> BundleConfig:
    """The config in the text of a config.json; HarnetError, beginning with `where`, if it is not one."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise HarnetError(f"{where}: not JSON ({error}): fetch the file again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        value = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise HarnetError(f"{where}: format {value!r}, expected {FORMAT!r}: not weights that this harnet can read")
    known = {row.name: row for row in fields(BundleConfig)}
    values = {key: value for key, value in found.items() if key != "format"}
    if unknown := sorted(values.keys() - known.keys()):
        raise HarnetError(f"{where}: unknown entry {unknown[0]!r}: written by a newer harnet? Update harnet")
    for key, value in values.items():
        kind = _JSON_KINDS.get(key, str)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise HarnetError(f"{where}: {key} is {value!r}, expected {kind.__name__}")
    if "classes" in values:
        values["classes"] = tuple(values["classes"])
    try:
        return BundleConfig(**values)
    except HarnetError as error:
        raise HarnetError(f"{where}: {error}") from error
    except TypeError as error:
        raise HarnetError(f"{where}: incomplete ({error}): fetch the file again") from error


_JSON_KINDS: dict[str, type] = {
    "window_seconds": int,
    "width": int,
    "sampling_rate": int,
    "training_steps": int,
    "preprocessing": dict,
    "provenance": dict,
    "classes": list,
}
"""Entries of config.json that are not text."""


def _check_provenance(value: Any, where: str, levels: int) -> None:
    if isinstance(value, dict) and levels:
        for key, inner in value.items():
            _check_provenance(inner, f"{where}[{key!r}]", levels - 1)
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise HarnetError(f"{where}: a {type(value).__name__}; only numbers and text, at most two levels deep")
