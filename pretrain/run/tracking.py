"""Services that follow a run over the network, only if the configuration names one."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harnet.errors import HarnetError


@dataclass(frozen=True)
class TrackingConfig:
    """Where the log goes besides the run folder."""

    service: Literal["none", "wandb", "trackio"] = "none"
    """Weights & Biases or trackio, either to be installed and logged in to by yourself."""
    project: str = "harnet"
    """Project there; the run has the name of the run folder."""


class Tracker:
    """Hands numbers to Weights & Biases, or to trackio, whose functions have the same names.

    The step goes along as a number of its own, since both refuse to take an earlier step again, which a resumed run
    may log. The whole configuration is handed over, paths included, and no participant.

    Raises:
        HarnetError: the service's package is not installed.
    """

    def __init__(self, config: TrackingConfig, run: Path, metadata: Mapping[str, Any]) -> None:
        try:
            self._service = importlib.import_module(config.service)
        except ModuleNotFoundError:
            raise HarnetError(
                f"tracking.service is {config.service}, which is not installed: pip install {config.service}, "
                "or leave the option out"
            ) from None
        options: dict[str, Any] = {
            "project": config.project,
            "name": run.name,
            "config": dict(metadata),
            "resume": "allow",
        }
        if config.service == "wandb":
            # The same folder continues the same run there.
            options["id"] = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
        self._service.init(**options)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Hand over the numbers of a step."""
        self._service.log({f"{kind}/{name}": value for name, value in values.items()} | {"step": step})

    def close(self) -> None:
        """Wait until everything has been sent."""
        self._service.finish()


def create_tracker(config: TrackingConfig, run: Path, metadata: Mapping[str, Any]) -> Tracker | None:
    """The configured service, if there is one."""
    return None if config.service == "none" else Tracker(config, run, metadata)
