"""Experiment trackers, used only if configured."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harnet.errors import HarnetError


@dataclass(frozen=True)
class TrackingConfig:
    """Where to log besides the run folder."""

    service: Literal["none", "wandb", "trackio"] = "none"
    """Weights & Biases or trackio; install it and log in yourself."""
    project: str = "harnet"
    """Name of the project; the run is named after the run folder."""


class Tracker:
    """Logs to Weights & Biases, or to trackio, which has the same interface.

    The step is logged as a value of its own, since both reject repeated steps, which a resumed run may log. The whole
    configuration is sent, paths included, but no participant ids.

    Raises:
        HarnetError: the service's package is not installed.
    """

    def __init__(self, config: TrackingConfig, run: Path, metadata: Mapping[str, Any]) -> None:
        try:
            self._service = importlib.import_module(config.service)
        except ModuleNotFoundError:
            raise HarnetError(
                f"tracking.service is {config.service}, which is not installed: pip install {config.service}, "
                "or omit the option"
            ) from None
        options: dict[str, Any] = {
            "project": config.project,
            "name": run.name,
            "config": dict(metadata),
            "resume": "allow",
        }
        if config.service == "wandb":
            # The same run folder continues the same run.
            options["id"] = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
        self._service.init(**options)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step."""
        self._service.log({f"{kind}/{name}": value for name, value in values.items()} | {"step": step})

    def close(self) -> None:
        """Wait until everything has been sent."""
        self._service.finish()


def create_tracker(config: TrackingConfig, run: Path, metadata: Mapping[str, Any]) -> Tracker | None:
    """The configured tracker; None if there is none."""
    return None if config.service == "none" else Tracker(config, run, metadata)
