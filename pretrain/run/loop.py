"""The training loop: the same bits however often it is stopped, the same windows on however many processes.

Batch normalisation sees a process's own part of the batch unless `run.sync_batchnorm` is on, so losses depend on the
number of processes; what is drawn and how it is transformed does not.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from data_shards.shards.manifest import Manifest
from data_shards.stream.planner import Planner
from harnet.errors import HarnetError
from harnet.progress import bar
from pretrain.config import PretrainConfig
from pretrain.data.heldout import HeldOut
from pretrain.data.loading import Part, Source, parts
from pretrain.objectives import Objective
from pretrain.optim import schedules
from pretrain.optim.schedules import Horizon
from pretrain.parallel.distributed import Process
from pretrain.run.log import Log
from pretrain.run.meters import Meters
from pretrain.run.not_finite import complaint
from pretrain.run.probe import Probe
from pretrain.run.signals import StopRequest
from pretrain.run.state import State
from pretrain.run.step import Gradient, Step


@dataclass
class Run:
    """One stretch of a run, from a start or a resumption to the end or a stop; `build.begin` puts it together."""

    config: PretrainConfig
    """What was asked for."""
    process: Process
    """Who we are."""
    objective: Objective
    """What is learnt."""
    manifest: Manifest
    """What is trained on."""
    planner: Planner
    """Its order."""
    horizon: Horizon
    """Length of the run and of an epoch."""
    about: dict[str, Any]
    """What a checkpoint says beside its tensors."""
    state: State
    """What a checkpoint holds."""
    computing: Step
    """How a batch goes through the network."""
    heldout: HeldOut
    """The loss on people who are never trained on."""
    probe: Probe | None
    """Of the first process, if the run has one."""
    meters: Meters
    """What the log says of an interval."""
    notes: list[str] = field(default_factory=list)
    """Lines that are printed when the run begins."""

    def __post_init__(self) -> None:
        self.saved_step, self.saved_time = self.state.step, time.monotonic()

    def go(self, log: Log, stop: StopRequest) -> bool:
        """Take steps until the end or until asked to stop; return whether it was asked."""
        run, state = self.config.run, self.state
        batches = parts(
            self.manifest,
            "train",
            self.config.order(),
            self.process,
            self.config.data.workers,
            first_step=state.step,
            source=Source.of(self.config.data),
        )
        # A stop may have come after the checkpoint of this step and before its held-out loss.
        enough = self.look(log)
        # Not "pretrain": in a log, a line that begins with the name of the program says why it ended.
        with bar(run.steps, "training", "steps", initial=state.step, show=self.process.first) as shown:
            while state.step < run.steps and not enough:
                stopped, late = self.step(batches, stop.requested)
                shown.update()
                if state.step % run.log_every == 0:
                    values = self.meters.means()
                    log.write("train", state.step, values)
                    shown.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                if stopped or late or self._due(run.checkpoint_every):
                    self.save()
                if stopped:
                    return True
                enough = self.look(log)
        if enough:
            self.save()
            if self.process.first:
                best = state.stopping
                print(f"stopped early at step {state.step}: best held-out loss {best.best} at step {best.best_step}")
        return False

    def _due(self, every: int) -> bool:
        step = self.state.step
        return step > 0 and (step % every == 0 or step == self.config.run.steps)

    def look(self, log: Log) -> bool:
        """Log the held-out loss and the probe if they are due; return whether to stop early."""
        state, step = self.state, self.state.step
        with self.meters.paused():
            if self._due(self.config.run.evaluate_every):
                values = self.evaluate()
                if values:
                    log.write("heldout", step, values)
                    if state.stopping.observe(step, values["loss"]) and state.stopping.patience:
                        self.save()
            if self.config.probe.folder and self._due(self.config.probe.every):
                if self.probe:
                    log.write("probe", step, self.probe.evaluate(state.network, self.process.device))
                self.process.wait()
        return state.stopping.enough

    def evaluate(self) -> dict[str, float]:
        """Held-out metrics of the weights, and under "ema/" of their moving average."""
        values = self.heldout.evaluate(self.state.network, self.computing.outcome)
        if self.state.average is None:
            return values
        average = self.heldout.evaluate(self.state.average.network, self.computing.outcome)
        return values | {f"ema/{name}": value for name, value in average.items()}

    def step(self, batches: Iterator[Part], stop_requested: bool) -> tuple[bool, bool]:
        """One update on one global batch.

        Returns whether any process was asked to stop, and whether a checkpoint is due by the first process's clock.
        """
        state = self.state
        with self.meters.waiting():
            part = next(batches)
        rate = schedules.learning_rate(state.step, self.config.optimizer, self.horizon)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        found = self.gradient(part)
        late = time.monotonic() - self.saved_time > 60 * self.config.run.checkpoint_minutes
        bad_loss, bad_norm, stop, save = self.agree(
            ~torch.isfinite(found.loss), ~torch.isfinite(found.norm), stop_requested, self.process.first and late
        )
        if bad_loss or bad_norm:
            loss, norm = found.loss.item(), found.norm.item()
            blocks = self.blocks_of(part)
            raise HarnetError(complaint(self.config.run.out, self.process, blocks, state.step + 1, loss, norm))
        state.optimizer.step()
        if state.average is not None:
            state.average.update(state.network, state.step)
        state.step += 1
        self.meters.add(found.metrics | {"gradient_norm": found.norm}, self.config.data.batch, rate, part.damaged)
        return stop, save

    def blocks_of(self, part: Part) -> list[str]:
        """Names of the blocks that the windows of a part were due from."""
        rows = self.planner.plan(part.epoch).rows_of(part.positions.numpy())
        return [self.manifest.name_of(row) for row in sorted(set(rows.tolist()))]

    def gradient(self, part: Part) -> Gradient:
        """Forward and backward of this process's part of a batch."""
        return self.computing.gradient(part)

    def agree(self, *flags: Tensor | bool) -> list[bool]:
        """Whether any process raised each flag: one exchange and one wait for the device a step."""
        values = [
            flag if isinstance(flag, Tensor) else torch.tensor(flag, device=self.process.device) for flag in flags
        ]
        return [count > 0 for count in self.process.sum(torch.stack(values).float()).tolist()]

    def save(self) -> None:
        """Write a checkpoint, all processes together; the first one writes."""
        state = self.state
        if state.step != self.saved_step and self.process.first:
            about = self.about | {"world": self.process.world, "stream": self._place()}
            state.save(self.config.run.out, about, self.config.run.keep)
        self.process.wait()
        self.saved_step, self.saved_time = state.step, time.monotonic()

    def _place(self) -> dict[str, int]:
        epoch, step = divmod(self.state.step, self.horizon.steps_per_epoch)
        return {"epoch": epoch, "step_in_epoch": step, "steps_per_epoch": self.horizon.steps_per_epoch}
