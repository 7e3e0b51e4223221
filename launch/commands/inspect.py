"""`harnet inspect`: description, provenance and integrity of weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from harnet.weights.bundle_source import listed_files, open_source, read_checked
from harnet.weights.fingerprint import fingerprint
from harnet.weights.load import Bundle, read_bundle
from harnet.weights.packaged import model_names
from harnet.weights.published import is_published


@dataclass(frozen=True)
class Command:
    """Verify every file and tensor of a folder of weights, and print its description and provenance.

    Without WEIGHTS, list the models included with harnet.

    Example: harnet inspect weights
    """

    weights: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="WEIGHTS")] = None
    """Folder, name of an included model, URL, Hub id in the local cache, or published checkpoint (.mdl)."""
    json: bool = False
    """Print as JSON."""

    def run(self) -> int:
        """Verify and print; returns the exit code."""
        if self.weights is None:
            found = {name: summary(name) for name in model_names()}
            print(json.dumps(found, indent=2) if self.json else "\n".join(as_lines(found)))
            return 0
        bundle = read_bundle(self.weights)
        facts = bundle_summary(bundle) | {"files": _files(self.weights)}
        print(json.dumps(facts, indent=2) if self.json else "\n".join(as_lines(facts)))
        return 0


def summary(name: str) -> dict[str, Any]:
    """Short description of a model included with harnet."""
    config = read_bundle(name).config
    size = sum(_files(name).values())
    shown: dict[str, Any] = {
        "architecture": config.architecture,
        "width": config.width,
        "megabytes": round(size / 1e6, 1),
    }
    if config.encoder:
        shown |= {"classifier on": config.encoder, "classes": list(config.classes)}
    return shown | {"data-use terms": config.data_use_terms or "none stated"}


def bundle_summary(bundle: Bundle) -> dict[str, Any]:
    """Everything in the bundle's config, and statistics of its tensors."""
    encoder = [name for name in bundle.state if name.startswith("feature_extractor.")]
    config = asdict(bundle.config)
    return {
        "architecture": config.pop("architecture"),
        "width": config.pop("width"),
        "encoder tensors": len(encoder),
        "parameters": sum(bundle.state[name].numel() for name in encoder if name.endswith(("weight", "bias"))),
        "SHA-256": bundle.digest,
        "classes": list(config.pop("classes")),
        "preprocessing fingerprint": fingerprint(bundle.config),
        "training steps": config.pop("training_steps"),
        "manifest digest": config.pop("manifest_digest") or "none",
        "code revision": config.pop("git_revision") or "unknown",
        "provenance": config.pop("provenance"),
        "preprocessing": config.pop("preprocessing"),
        "data-use terms": config.pop("data_use_terms") or "none stated",
    }


def as_lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """One fact per line, with groups indented below their name."""
    lines = []
    for name, value in facts.items():
        shown = name if "." in name else name.replace("_", " ")
        if isinstance(value, dict) and value:
            lines += [f"{indent}{shown}:", *as_lines(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{shown}: {', '.join(map(str, value)) or 'none'}")
        else:
            lines.append(f"{indent}{shown}: {f'{value:,}' if type(value) is int else value}")
    return lines


def _files(weights: str) -> dict[str, int]:
    """Size in bytes of every file, each verified against SHA256SUMS."""
    if is_published(weights):
        return {Path(weights).name: Path(weights).expanduser().stat().st_size}
    source = open_source(weights)
    return {name: len(read_checked(source, name)) for name in listed_files(source)}
