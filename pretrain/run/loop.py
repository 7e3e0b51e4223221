"""The training loop: the same windows with the same draws, however often a run is resumed and for any world size.

With the same world size, a resumed run is bit-identical to an uninterrupted one on the CPU, and on CUDA with
`run.deterministic`; without that, it agrees up to rounding, which training amplifies.
Batch normalisation sees only the local batch unless `run.sync_batchnorm` is on, so losses depend on the world size;
which windows are drawn and how they are transformed does not.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from data_shards.shards.manifest import Manifest
from data_shards.stream.planner import Planner
from harnet.errors import HarnetError
from harnet.progress import bar
from pretrain.config import PretrainConfig
from pretrain.data.heldout import HeldOut
from pretrain.data.loading import LoadingOptions, LocalBatch, local_batches
from pretrain.objectives import Objective
from pretrain.optim import schedules
from pretrain.optim.schedules import Horizon
from pretrain.parallel.distributed import Process
from pretrain.run import garbage
from pretrain.run.agreement import Agreement
from pretrain.run.background import BackgroundWriter
from pretrain.run.log import Log
from pretrain.run.meters import Meters
from pretrain.run.not_finite import not_finite_report
from pretrain.run.probe import Probe
from pretrain.run.signals import StopRequest
from pretrain.run.state import State
from pretrain.run.step import BatchStep, Gradient
from pretrain.run.trace import Trace
from pretrain.run.update import Update, update


@dataclass
class Run:
    """A run from its start or resumption to its end or a stop; created by `build.build_run`."""

    config: PretrainConfig
    """Configuration of the run."""
    process: Process
    """Rank, world size and device."""
    objective: Objective
    """Pretraining objective."""
    manifest: Manifest
    """Manifest of the shards."""
    planner: Planner
    """Plans the order of windows."""
    horizon: Horizon
    """Length of the run and of an epoch."""
    metadata: dict[str, Any]
    """Metadata for checkpoints."""
    state: State
    """Everything that a checkpoint holds."""
    batch_step: BatchStep
    """Forward and backward of a batch."""
    heldout: HeldOut
    """Held-out loss."""
    probe: Probe | None
    """Online probe, on rank 0 only, if configured."""
    meters: Meters
    """Means over a log interval."""
    agreement: Agreement
    """Decisions of all ranks to stop or to save."""
    trace: Trace
    """Profiler trace of the configured steps."""
    notes: list[str] = field(default_factory=list)
    """Lines to print at the start of the run."""
    checkpoint_writer: BackgroundWriter = field(default_factory=BackgroundWriter)
    """Writes checkpoints in the background, on rank 0."""
    unconfirmed: Update | None = None
    """The last update, until the device has confirmed that it was made."""

    def __post_init__(self) -> None:
        self.saved_step, self.saved_time = self.state.step, time.monotonic()

    def train(self, log: Log, stop: StopRequest) -> bool:
        """Train until the end or a stop request; return whether it was a stop request."""
        run, state = self.config.run, self.state
        batches = local_batches(
            self.manifest,
            "train",
            self.config.order(),
            self.process,
            self.config.data.workers,
            first_step=state.step,
            source=LoadingOptions.of(self.config.data),
        )
        # The run may have been stopped after the checkpoint of this step but before its held-out loss.
        stopped, enough = False, self.evaluate_if_due(log)
        # Not "pretrain": in a log, a line that begins with the name of the program gives the reason why it ended.
        shown = bar(self.config.steps, "training", "steps", initial=state.step, show=self.process.first)
        with shown, garbage.manual_collection():
            while state.step < self.config.steps and not enough:
                self.trace.before(state.step + 1)
                stopped, checkpoint_due = self.step(batches, stop.requested)
                garbage.collect_if_due(state.step)
                shown.update()
                if state.step % run.log_every == 0:
                    self.confirm_update()
                    values = self.meters.means()
                    log.write("train", state.step, values)
                    shown.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                if checkpoint_due or self._due(run.checkpoint_every):
                    self.save()
                if stopped:
                    break
                enough = self.evaluate_if_due(log)
        self.trace.close(state.step)
        self.save()
        self.wait_for_checkpoint()
        if enough and self.process.first:
            best = state.stopping
            print(f"stopped early at step {state.step}: best held-out loss {best.best} at step {best.best_step}")
        return stopped

    def _due(self, every: int) -> bool:
        step = self.state.step
        return step > 0 and (step % every == 0 or step == self.config.steps)

    def evaluate_if_due(self, log: Log) -> bool:
        """Evaluate and log the held-out loss and the probe if due; return whether to stop early."""
        state, step = self.state, self.state.step
        with self.meters.paused(), self.batch_step.without_compilation():
            if self._due(self.config.run.evaluate_every):
                self.confirm_update()
                values = self.evaluate()
                if values:
                    log.write("heldout", step, values)
                    if state.stopping.observe(step, values["loss"]) and state.stopping.patience:
                        self.save()
            if self.config.probe.folder and self._due(self.config.probe.every):
                self.confirm_update()
                if self.probe:
                    log.write("probe", step, self.probe.evaluate(state.network, self.process.device))
                self.process.barrier()
        return state.stopping.enough

    def evaluate(self) -> dict[str, float]:
        """Held-out metrics of the weights and, prefixed with "ema/", of their moving average."""
        values = self.heldout.evaluate(self.state.network, self.batch_step.outcome)
        if self.state.average is None:
            return values
        average = self.heldout.evaluate(self.state.average.network, self.batch_step.outcome)
        return values | {f"ema/{name}": value for name, value in average.items()}

    def step(self, batches: Iterator[LocalBatch], stop_requested: bool) -> tuple[bool, bool]:
        """Launch one update on one global batch; then confirm the previous update.

        Returns whether any rank was asked to stop, and whether a checkpoint is due by the clock of rank 0; with several
        ranks, both as of the previous step.
        """
        state = self.state
        with self.meters.waiting():
            part = next(batches)
        rate = schedules.learning_rate(state.step, self.config.optimizer, self.horizon)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        self.checkpoint_writer.check()
        found = self.gradient(part)
        pending = update(state.optimizer, found, part, state.step + 1, self.process)
        if state.average is not None:
            state.average.update(state.network, state.step)
        # By now this step's work is queued on the device, so waiting for the previous one does not leave it idle.
        self.confirm_update()
        self.unconfirmed = pending
        state.step += 1
        self.meters.add(found.metrics | {"gradient_norm": found.norm}, self.config.data.batch, rate, part.damaged)
        checkpoint_due = time.monotonic() - self.saved_time > 60 * self.config.run.checkpoint_minutes
        stop, save = self.agreement.any_rank(stop_requested, self.process.first and checkpoint_due)
        return stop, save

    def confirm_update(self) -> None:
        """Make sure that the last update was made, before its results are logged, saved or evaluated.

        Raises:
            HarnetError: it was skipped because loss or gradient was not finite; the message names step and blocks.
        """
        if self.unconfirmed is None:
            return
        pending, self.unconfirmed = self.unconfirmed, None
        loss, norm, refused = pending.outcome()
        if refused:
            blocks = self.blocks_of(pending)
            raise HarnetError(not_finite_report(self.config.run.out, self.process, blocks, pending.step, loss, norm))

    def blocks_of(self, pending: Update) -> list[str]:
        """Names of the blocks from which the windows of an update were planned."""
        rows = self.planner.plan(pending.epoch).rows_of(pending.positions.numpy())
        return [self.manifest.name_of(row) for row in sorted(set(rows.tolist()))]

    def gradient(self, part: LocalBatch) -> Gradient:
        """Forward and backward of the local batch."""
        return self.batch_step.gradient(part)

    def save(self) -> None:
        """Write a checkpoint in the background; every rank must call it, and rank 0 writes."""
        self.confirm_update()
        self.agreement.settle()
        state = self.state
        if state.step != self.saved_step and self.process.first:
            metadata = self.metadata | {"world": self.process.world, "stream": self._place()}
            self.checkpoint_writer.begin(state.checkpoint_saver(self.config.run.out, metadata, self.config.run.keep))
        self.saved_step, self.saved_time = state.step, time.monotonic()

    def wait_for_checkpoint(self) -> None:
        """Wait until the last checkpoint is complete: a rank that exits earlier could bring down rank 0."""
        self.checkpoint_writer.finish()
        self.process.barrier()

    def _place(self) -> dict[str, int]:
        epoch, step = divmod(self.state.step, self.horizon.steps_per_epoch)
        return {"epoch": epoch, "step_in_epoch": step, "steps_per_epoch": self.horizon.steps_per_epoch}
