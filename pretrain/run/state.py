"""Training state: saved to and restored from checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data_shards.shards.manifest import Manifest
from harnet import run_folder
from harnet.errors import HarnetError
from pretrain.config import PretrainConfig, differences
from pretrain.optim.ema import AverageNetwork
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint
from pretrain.run.background import Snapshot
from pretrain.run.stopping import EarlyStopping


@dataclass
class State:
    """The state in a checkpoint. Schedule and position in the stream are functions of the step."""

    network: nn.Module
    """The objective's network, without the DDP wrapper."""
    optimizer: torch.optim.Optimizer
    """Optimiser of its parameters."""
    average: AverageNetwork | None
    """Moving average of its weights, if configured."""
    stopping: EarlyStopping
    """Early stopping on the held-out loss."""
    step: int = 0
    """Steps done."""

    def checkpoint_saver(self, run: Path, metadata: dict[str, Any], keep: int) -> Callable[[], Path]:
        """A function that writes a checkpoint of the current state, even if training continues; for rank 0 only."""
        tensors = {run_folder.NETWORK: self.network.state_dict(), run_folder.RANDOM: _random_states()}
        if self.average is not None:
            tensors[run_folder.AVERAGE] = self.average.network.state_dict()
        # Without early stopping, the best checkpoint need not be kept.
        protected = {self.stopping.best_step} if self.stopping.patience else set()
        snapshot = Snapshot((tensors, self.optimizer.state_dict()))
        step, metadata = self.step, metadata | {"early_stopping": self.stopping.as_dict()}

        def write() -> Path:
            on_host, optimizer = snapshot.on_host()
            return checkpoint.save(run, step, on_host, optimizer, metadata, keep, protected)

        return write

    def resume(self, config: PretrainConfig, process: Process, manifest: Manifest, metadata: dict[str, Any]) -> None:
        """Resume from the newest valid checkpoint of the run folder, if there is one.

        Rank 0 finds it and tells the others, since verifying all digests once is enough. A rank that does not see that
        checkpoint stays at step 0.

        Raises:
            HarnetError: its configuration or manifest differs; the message shows how.
        """
        saved = checkpoint.newest(config.run.out) if process.first else None
        step = int(process.broadcast_text(str(saved.step if saved else 0)))
        saved = saved or checkpoint.at_step(config.run.out, step)
        if saved is None:
            return
        changed = differences(saved.metadata["config"], config.as_dict())
        if saved.metadata["manifest_digest"] != manifest.digest:
            changed.append(f"manifest was {_corpus(saved.metadata)}, now {_corpus(metadata)}")
        if changed:
            raise HarnetError(
                f"{config.run.out}: holds a run with other settings ({'; '.join(changed)}); "
                "use the same settings to resume it, or another --run.out"
            )
        self.network.load_state_dict(saved.network())
        self.optimizer.load_state_dict(_with_kernels(saved.optimizer(), config.optimizer.fused))
        if self.average is not None:
            self.average.network.load_state_dict(saved.tensors(run_folder.AVERAGE) or {})
        self.stopping.restore(saved.metadata["early_stopping"])
        _restore_random(saved.tensors(run_folder.RANDOM) or {})
        self.step = saved.step


def _with_kernels(optimizer: dict[str, Any], fused: bool) -> dict[str, Any]:
    """The state dict with `fused` as configured now, instead of as it was when saved."""
    groups = [group | {"fused": fused} for group in optimizer["param_groups"]]
    return optimizer | {"param_groups": groups}


def _corpus(metadata: Any) -> str:
    made = metadata["provenance"]
    return f"{metadata['manifest_digest'][:16]} ({made['people']} people, {made['person_days']} person-days)"


def _random_states() -> dict[str, Tensor]:
    """States of torch's generators. Nothing in this package draws from them after the start, but an objective may."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random(states: dict[str, Tensor]) -> None:
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])
