"""`config.json` of a bundle: what a user needs to know to use the weights, and their provenance."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from harnet.encoder import PUBLISHED_WIDTH, SAMPLING_RATE, find_architecture
from harnet.errors import HarnetError

FORMAT = "harnet weights 1"
"""Value of "format" in every config.json; it changes whenever the layout does."""

Normalisation = Literal["none", "standardised window"]

Stored = Literal["float32", "float16"]


@dataclass(frozen=True)
class BundleConfig:
    """Contents of `config.json`, except its "format" entry. HarnetError for invalid values."""

    architecture: str
    """Name in `harnet.encoder.ARCHITECTURES`."""
    window_seconds: int
    """Length of an input window in seconds; fixed by the architecture."""
    normalisation: Normalisation
    """Normalisation of a window inside `forward`: none, or `harnet.encoder.standardise_window`."""
    width: int = PUBLISHED_WIDTH
    """Channels of the encoder's first stage."""
    sampling_rate: int = SAMPLING_RATE
    """Samples per second of an input window."""
    units: str = "g"
    """Units of an input window; 1 g = 9.80665 m/s²."""
    preprocessing: dict[str, str] = field(default_factory=dict)
    """Preprocessing of recordings before windows were cut: step -> description (resampling filter, calibration)."""
    manifest_digest: str = ""
    """Digest of the shard manifest that the encoder was trained on; empty if it was not trained on shards."""
    training_steps: int = 0
    """Optimiser steps of pretraining."""
    git_revision: str = ""
    """Revision of the training code; empty if unknown."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """People and person-days (counts), windows drawn, objective, held-out metrics, versions, seed, batch size: numbers
    and text, nested at most one level. Lists are refused, so that no list of participants can end up here."""
    data_use_terms: str = ""
    """Terms of the data's owner for the use of weights trained on them."""
    classes: tuple[str, ...] = ()
    """Class names of a fine-tuned model, in the order of the classifier's outputs; empty for a pretrained encoder."""
    name: str = ""
    """Name of the weights if they come with the package; empty for all others."""
    stored: Stored = "float32"
    """Dtype in the file of the weights of convolutions and linear layers; they are always float32 once loaded."""
    encoder: str = ""
    """Name of the packaged encoder whose features a linear classifier uses, and whose tensors are not in this folder;
    empty if the folder contains its own."""
    encoder_digest: str = ""
    """SHA-256 of that encoder's model.safetensors."""

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
            raise HarnetError(f"classes {self.classes!r}: must be distinct names")
        if self.stored not in get_args(Stored):
            raise HarnetError(f"stored {self.stored!r}: one of {', '.join(get_args(Stored))}")
        if self.encoder and not (self.classes and self.encoder_digest):
            raise HarnetError(f"encoder {self.encoder!r}: a classifier on it has classes and its encoder_digest")
        _check_provenance(self.provenance, "provenance", levels=2)

    @property
    def standardise(self) -> bool:
        """The `standardise` argument of `Encoder`."""
        return self.normalisation == "standardised window"

    def to_json(self) -> str:
        """Text of config.json; equal configs give equal text, whatever the order of their dictionaries."""
        entries = {"format": FORMAT, **asdict(self)}
        # Omitted if they have the default, so that versions that do not know these entries can still read such weights.
        defaults = {"width": PUBLISHED_WIDTH, "name": "", "stored": "float32", "encoder": "", "encoder_digest": ""}
        entries = {key: value for key, value in entries.items() if key not in defaults or value != defaults[key]}
        return json.dumps(entries, indent=2, sort_keys=True, allow_nan=False) + "\n"


def parse_config(text: str | bytes, where: str) -> BundleConfig:
    """Parse and check the text of a config.json; HarnetError, prefixed with `where`, if it is invalid."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise HarnetError(f"{where}: not JSON ({error}): fetch the file again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        value = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise HarnetError(f"{where}: format {value!r}, expected {FORMAT!r}: this version of harnet cannot read it")
    known = {row.name: row for row in fields(BundleConfig)}
    values = {key: value for key, value in found.items() if key != "format"}
    if unknown := sorted(values.keys() - known.keys()):
        raise HarnetError(f"{where}: unknown entry {unknown[0]!r}, perhaps written by a newer version: update harnet")
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
"""JSON types of the entries of config.json that are not text."""


def _check_provenance(value: Any, where: str, levels: int) -> None:
    if isinstance(value, dict) and levels:
        for key, inner in value.items():
            _check_provenance(inner, f"{where}[{key!r}]", levels - 1)
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise HarnetError(f"{where}: a {type(value).__name__}; only numbers and text, at most two levels deep")
