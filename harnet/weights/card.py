"""The model card: README.md of a bundle, written from its config so that the two cannot disagree."""

from typing import Any

from harnet.encoder import find_architecture
from harnet.weights.config import BundleConfig


def model_card(config: BundleConfig) -> str:
    """Markdown for people who meet the folder without knowing this project."""
    sections = [_opening(config), _use(config), _input(config), _training(config), _terms(config), _integrity()]
    return "\n".join(sections)


def _opening(config: BundleConfig) -> str:
    features = find_architecture(config.architecture, config.width).features
    if config.classes:
        what = f"classifies windows of wrist acceleration as one of: {', '.join(config.classes)}"
    else:
        what = f"turns a window of wrist acceleration into {features} features"
    return f"# {config.architecture}\n\nA convolutional network that {what}.\n"


def _use(config: BundleConfig) -> str:
    if config.classes:
        lines = ["from harnet.weights.load import load_classifier", 'model, classes = load_classifier("FOLDER")']
    else:
        lines = [
            "import harnet",
            'encoder = harnet.load_encoder("FOLDER")',
            f'model = harnet.create_model("{config.architecture}", num_classes=5, weights="FOLDER")',
        ]
    body = "\n".join(lines)
    return (
        "## Use\n\n`pip install harnet`, then, with this folder's path in place of FOLDER:\n\n"
        f"```python\n{body}\n```\n\nThe folder is also a torch.hub folder: "
        f'`torch.hub.load("FOLDER", "{config.architecture}", source="local", pretrained=True, class_num=5)`.\n'
    )


def _input(config: BundleConfig) -> str:
    length = config.window_seconds * config.sampling_rate
    rows = {
        "Shape": f"(N, 3, {length}): {config.window_seconds} s at {config.sampling_rate} Hz, float32",
        "Units": f"{config.units}, gravity included",
        "Normalisation inside the model": config.normalisation,
        **config.preprocessing,
    }
    return f"## Input\n\n{_table(rows)}"


def _training(config: BundleConfig) -> str:
    rows = {
        "Optimiser steps": config.training_steps,
        "Shard manifest": config.manifest_digest or "none",
        "Code revision": config.git_revision or "unknown",
        **config.provenance,
    }
    return (
        f"## Training\n\n{_table(rows)}\n"
        "Measured on the people and devices above only; test it on your own before relying on it. "
        "Not a medical device.\n"
    )


def _terms(config: BundleConfig) -> str:
    return f"## Data-use terms\n\n{config.data_use_terms or 'None were stated when this folder was written.'}\n"


def _integrity() -> str:
    return "## Integrity\n\n`sha256sum -c SHA256SUMS` checks every file; the loader checks those that it reads.\n"


def _table(rows: dict[str, Any]) -> str:
    lines = ["| | |", "|---|---|"]
    for name, value in rows.items():
        shown = ", ".join(f"{k} {_cell(v)}" for k, v in value.items()) if isinstance(value, dict) else _cell(value)
        lines.append(f"| {_cell(name).replace('_', ' ')} | {shown} |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
