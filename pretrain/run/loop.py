"""The training loop: the same bits however often it is stopped, the same windows on however many processes.

Batch normalisation sees a process's own part of the batch unless `run.sync_batchnorm` is on, so losses depend on the
number of processes; what is drawn and how it is transformed does not.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_shards.shards.manifest import Manifest
from data_shards.stream.plan import lanes_of
from data_shards.stream.planner import Planner
from harnet.encoder import find_architecture
from harnet.errors import HarnetError
from harnet.progress import bar
from pretrain import objectives
from pretrain.config import PretrainConfig, in_common
from pretrain.data.heldout import HeldOut
from pretrain.data.loading import Part, Source, open_manifest, parts
from pretrain.objectives import Objective
from pretrain.optim import optimizers, schedules
from pretrain.optim.ema import AverageNetwork
from pretrain.optim.schedules import Horizon
from pretrain.parallel import batchnorm
from pretrain.parallel.compilation import compile_or_go_on
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint, flops, tracking
from pretrain.run.log import JsonLines, Log, Sink, TensorBoard
from pretrain.run.memory import advice_when_out_of_memory
from pretrain.run.meters import Meters
from pretrain.run.not_finite import complaint
from pretrain.run.probe import Probe
from pretrain.run.provenance import provenance
from pretrain.run.signals import StopRequest
from pretrain.run.state import State
from pretrain.run.step import Gradient, Step
from pretrain.run.stopping import EarlyStopping


def train(config: PretrainConfig, process: Process) -> Path:
    """Train to `run.steps`, going on from the newest valid checkpoint of the run folder; return the last one.

    Raises:
        HarnetError: the run folder is of another run, the shards cannot feed it, the loss is not finite, or memory
            does not suffice.
        KeyboardInterrupt: it was asked to stop; the checkpoint is written.
    """
    with advice_when_out_of_memory(config.data.batch, config.run.accumulate, process.world, config.run.precision):
        run = begin(config, process)
        sinks: list[Sink] = []
        if process.first:
            config.run.out.mkdir(parents=True, exist_ok=True)
            print("\n".join(run.headline()))
            sinks = [JsonLines(config.run.out, run.state.step), TensorBoard(config.run.out, run.state.step)]
            tracker = tracking.create(config.tracking, config.run.out, run.about)
            sinks += [tracker] if tracker else []
        with Log(sinks) as log, StopRequest() as stop:
            stopped = run.go(log, stop)
    if stopped:
        raise KeyboardInterrupt
    return checkpoint.find(config.run.out).path


def begin(config: PretrainConfig, process: Process) -> "Run":
    """A run ready to take its next step: the first one, or the one after the newest valid checkpoint."""
    source = Source.of(config.data)
    manifest = open_manifest(config.data)
    planner = Planner(manifest, "train", config.order(), source.cache)
    lanes_of(process.rank, process.world * config.run.accumulate, config.data.lanes)
    # Every batch has the same shape, so that cuDNN's search for the fastest convolution pays.
    torch.backends.cudnn.benchmark = process.device.type == "cuda"
    # fp32 is to be that: cuDNN would keep ten bits of it (TF32), and losses would not be those of the CPU.
    torch.backends.cudnn.allow_tf32 = False
    objective = objectives.create(config, config.model)
    torch.manual_seed(config.run.seed)
    network = objective.build().to(process.device)
    cost = flops.per_window(objective, network, find_architecture(config.model.architecture).length)
    network = batchnorm.synchronise(network, process) if config.run.sync_batchnorm else network
    decay = config.optimizer.ema_decay
    average = AverageNetwork(network, decay) if decay else None
    optimizer = optimizers.create(network, config.optimizer)
    state = State(network, optimizer, average, EarlyStopping(config.run.patience))
    about = {"config": config.as_dict(), "manifest_digest": manifest.digest, "provenance": provenance(config, manifest)}
    state.resume(config, manifest, about)
    _check_alike(config, process, manifest, state.step)
    return Run(config, process, objective, manifest, planner, about, state, cost)


def _check_alike(config: PretrainConfig, process: Process, manifest: Manifest, step: int) -> None:
    """A node with other shards or options, or an old view of the run folder, would train on something else or hang."""
    if not process.alike(json.dumps([in_common(config.as_dict()), manifest.digest, step], sort_keys=True)):
        raise HarnetError(
            f"process {process.rank} would begin at step {step} of {config.run.out} with manifest "
            f"{manifest.digest[:16]}, and not all processes would do the same: give every node the same options, "
            "the same shards and the same run folder"
        )


class Run:
    """One stretch of a run, from a start or a resumption to the end or a stop."""

    def __init__(
        self,
        config: PretrainConfig,
        process: Process,
        objective: Objective,
        manifest: Manifest,
        planner: Planner,
        about: dict[str, Any],
        state: State,
        flops_per_window: float,
    ) -> None:
        self.config, self.process, self.objective = config, process, objective
        self.manifest, self.planner, self.about, self.state = manifest, planner, about, state
        self.horizon = Horizon(config.run.steps, planner.steps, config.optimizer.warmup_steps, config.data.batch)
        self.notes = self.compile()
        self.computing = Step(config, process, objective, state.network)
        self.heldout = HeldOut(config, process, manifest)
        if config.run.patience and not self.heldout.steps:
            raise HarnetError(
                f"run.patience is {config.run.patience}, but there is no held-out loss: too few people are held out or "
                "data.heldout_windows is too small; leave run.patience out"
            )
        self.probe = Probe(config.probe, config.model.architecture) if config.probe.folder and process.first else None
        peak, source = flops.peak(process.device, config.run.precision)
        self.notes.append(
            f"{flops_per_window / 1e9:.3f} GFLOP a window, forward and backward; the device does {peak / 1e12:.3g} "
            f"TFLOP/s at best ({source})"
        )
        self.meters = Meters(process, flops_per_window / peak)
        self.saved_step, self.saved_time = state.step, time.monotonic()

    def compile(self) -> list[str]:
        """Compile the network if that is configured; what came of it, in at most one line."""
        mode, process = self.config.run.compile, self.process
        if mode == "off":
            return []
        if self.config.run.sync_batchnorm and process.world > 1:
            # The trial runs the network, which would wait for a process whose compiler has failed.
            return ["not compiled: with run.sync_batchnorm processes wait for each other inside the network"]
        count = self.config.data.batch // (process.world * self.config.run.accumulate)
        length = find_architecture(self.config.model.architecture).length
        counts = torch.zeros(count, 3, length, dtype=torch.int16, device=process.device)
        inputs = self.objective.prepare(counts, torch.arange(count, device=process.device)).inputs
        precision = torch.bfloat16 if self.config.run.precision == "bf16" else torch.float32
        return [compile_or_go_on(self.state.network, mode, inputs, precision, process)]

    def headline(self) -> list[str]:
        """The run in a few lines."""
        config, order, rows = self.config, self.config.order(), self.manifest.rows("train")
        # The epoch that is read anyway: planning one of a large corpus takes a while.
        plan = self.planner.plan(self.state.step // self.horizon.steps_per_epoch)
        world, pieces = self.process.world, config.run.accumulate
        return [
            f"{config.model.architecture} on {world} x {self.process.device}, {config.run.precision}: "
            f"{self.manifest.people(rows)} people, {self.manifest.person_days(rows)} person-days; "
            f"an epoch is {plan.steps} steps of {order.batch} windows ({plan.dropped} of {plan.total} dropped); "
            f"steps {self.state.step} to {config.run.steps}; held out: {self.heldout.description}",
            f"batch {order.batch} = {world} processes x {pieces} pieces x {order.batch // (world * pieces)} windows; "
            + schedules.describe(config.optimizer, self.horizon),
            *self.notes,
        ]

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
        with bar(run.steps, "pretrain", "steps", initial=state.step, show=self.process.first) as shown:
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
