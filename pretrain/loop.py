"""The training loop: the same bits however often it is stopped, the same windows on however many processes.

Batch normalisation sees a process's own part of the batch, so losses depend on the number of processes; what is drawn
and how it is transformed does not.
"""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import harnet
from data_shards.shards.manifest import Manifest
from data_shards.stream.planner import Planner
from harnet.errors import HarnetError
from harnet.optimisation import decay_groups, warmup_cosine
from harnet.progress import bar
from pretrain import checkpoint
from pretrain.config import PretrainConfig, differences
from pretrain.distributed import Process
from pretrain.evaluation import HeldOut
from pretrain.loading import Part, Source, open_manifest, parts, to_device
from pretrain.log import Log
from pretrain.meters import Meters
from pretrain.objectives import Objective, Outcome
from pretrain.objectives.multitask import MultiTask
from pretrain.signals import StopRequest


@dataclass
class State:
    """What changes from step to step, and what a checkpoint holds."""

    network: nn.Module
    """The objective's network, not wrapped."""
    optimizer: torch.optim.Optimizer
    """Of its parameters."""
    step: int
    """Steps done."""


def train(config: PretrainConfig, process: Process) -> Path:
    """Train to `run.steps`, going on from the newest valid checkpoint of the run folder; return the last one.

    Raises:
        HarnetError: the run folder is of another run, the shards cannot feed it, or the loss is not finite.
        KeyboardInterrupt: it was asked to stop; the checkpoint is written.
    """
    manifest = open_manifest(config.data)
    objective: Objective = MultiTask(config.multitask, config.model)
    torch.manual_seed(config.run.seed)
    network = objective.build().to(process.device)
    recipe = config.optimizer
    groups = decay_groups(network, recipe.learning_rate, recipe.weight_decay)
    state = State(network, torch.optim.AdamW(groups, amsgrad=recipe.amsgrad), 0)
    about = {"config": config.as_dict(), "manifest_digest": manifest.digest, "provenance": provenance(config, manifest)}
    _resume(state, config, manifest)
    run = Run(config, process, objective, manifest, about, state)
    if process.first:
        config.run.out.mkdir(parents=True, exist_ok=True)
        print(run.headline())
    with Log(config.run.out, state.step, process.first) as log, StopRequest() as stop:
        stopped = run.go(log, stop)
    if stopped:
        raise KeyboardInterrupt
    return checkpoint.find(config.run.out).path


def _resume(state: State, config: PretrainConfig, manifest: Manifest) -> None:
    saved = checkpoint.newest(config.run.out)
    if saved is None:
        return
    changed = differences(saved.about["config"], config.as_dict())
    if saved.about["manifest_digest"] != manifest.digest:
        changed.append(f"manifest was {saved.about['manifest_digest'][:16]}, now {manifest.digest[:16]}")
    if changed:
        raise HarnetError(
            f"{config.run.out}: holds a run with other settings ({'; '.join(changed)}); "
            "use the same ones to continue it, or another --run.out"
        )
    state.network.load_state_dict(saved.network())
    state.optimizer.load_state_dict(saved.optimizer())
    state.step = saved.step


class Run:
    """One stretch of a run, from a start or a resumption to the end or a stop."""

    def __init__(
        self,
        config: PretrainConfig,
        process: Process,
        objective: Objective,
        manifest: Manifest,
        about: dict[str, Any],
        state: State,
    ) -> None:
        self.config, self.process, self.objective = config, process, objective
        self.manifest, self.about, self.state = manifest, about, state
        self.wrapped = _wrap(state.network, process)
        self.heldout = HeldOut(config, process, objective, manifest)
        self.meters = Meters(process)
        self.saved_step, self.saved_time = state.step, time.monotonic()

    def headline(self) -> str:
        """The run in one line."""
        config, order = self.config, self.config.order()
        rows = self.manifest.rows("train")
        plan = Planner(self.manifest, "train", order, Source.of(config.data).cache).plan(0)
        return (
            f"{config.model.architecture} on {self.process.world} x {self.process.device}, {config.run.precision}: "
            f"{self.manifest.people(rows)} people, {self.manifest.person_days(rows)} person-days; "
            f"an epoch is {plan.steps} steps of {order.batch} windows ({plan.dropped} of {plan.total} dropped); "
            f"steps {self.state.step} to {config.run.steps}; held out: {self.heldout.description}"
        )

    def go(self, log: Log, stop: StopRequest) -> bool:
        """Take steps until the end or until asked to stop; return whether it was stopped."""
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
        self.evaluate_if_due(log)
        with bar(run.steps, "pretrain", "steps", initial=state.step, show=self.process.first) as shown:
            while state.step < run.steps:
                stopped = self.step(batches, stop.requested)
                shown.update()
                if state.step % run.log_every == 0:
                    values = self.meters.means()
                    log.write("train", state.step, values)
                    shown.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                if stopped or self.is_checkpoint_due():
                    self.save()
                if stopped:
                    return True
                self.evaluate_if_due(log)
        return False

    def evaluate_if_due(self, log: Log) -> None:
        """Log the held-out loss every so many steps and at the end."""
        run, step = self.config.run, self.state.step
        if step and (step % run.evaluate_every == 0 or step == run.steps):
            with self.meters.paused():
                values = self.heldout.evaluate(self.wrapped, self.forward)
            if values:
                log.write("heldout", step, values)

    def step(self, batches: Iterator[Part], stop_requested: bool) -> bool:
        """One update on one global batch; return whether any process was asked to stop."""
        state, recipe = self.state, self.config.optimizer
        with self.meters.waiting():
            part = next(batches)
        rate = recipe.learning_rate * warmup_cosine(state.step, self.config.run.steps, recipe.warmup_steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        outcome = self.outcome(part)
        state.optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip_norm)
        broken, stop = self.agree(~(torch.isfinite(norm) & torch.isfinite(outcome.loss)), stop_requested)
        if broken:
            raise HarnetError(
                f"step {state.step + 1}: loss {outcome.loss.item()} or gradient norm {norm.item()} is not finite; "
                "the update was not made and the last checkpoint is good; try a lower optimizer.learning_rate "
                "or run.precision fp32"
            )
        state.optimizer.step()
        state.step += 1
        self.meters.add(outcome.metrics | {"gradient_norm": norm.detach()}, self.config.data.batch, rate)
        return stop

    def outcome(self, part: Part) -> Outcome:
        """Transforms, forward and loss of this process's part of a batch."""
        windows, keys = to_device(part, self.config.run.seed, self.process.device)
        return self.objective(self.forward, windows, keys)

    def forward(self, windows: Tensor) -> Tensor:
        """The network under the configured precision."""
        with torch.autocast(self.process.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16"):
            output: Tensor = self.wrapped(windows)
        return output

    def agree(self, *flags: Tensor | bool) -> list[bool]:
        """Whether any process raised each flag: one exchange and one wait for the device a step."""
        values = [
            flag if isinstance(flag, Tensor) else torch.tensor(flag, device=self.process.device) for flag in flags
        ]
        return [count > 0 for count in self.process.sum(torch.stack(values).float()).tolist()]

    def is_checkpoint_due(self) -> bool:
        """By steps, by minutes of the first process's clock, or at the end."""
        run, step = self.config.run, self.state.step
        if step == run.steps or step % run.checkpoint_every == 0:
            return True
        late = time.monotonic() - self.saved_time > 60 * run.checkpoint_minutes
        return self.agree(self.process.first and late)[0]

    def save(self) -> None:
        """Write a checkpoint, all processes together; the first one writes."""
        state, run = self.state, self.config.run
        if state.step != self.saved_step and self.process.first:
            about = self.about | {"world": self.process.world}
            checkpoint.save(
                run.out, state.step, state.network.state_dict(), state.optimizer.state_dict(), about, run.keep
            )
        self.process.wait()
        self.saved_step, self.saved_time = state.step, time.monotonic()


def _wrap(network: nn.Module, process: Process) -> nn.Module:
    if process.world == 1:
        return network
    devices = [process.device.index] if process.device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True)


def provenance(config: PretrainConfig, manifest: Manifest) -> dict[str, Any]:
    """Where the weights of this run will come from; no participant is named."""
    rows = manifest.rows("train")
    return {
        "objective": "multitask",
        "people": manifest.people(rows),
        "person_days": manifest.person_days(rows),
        "worn_hours": round(float(manifest.columns["wear_seconds"][rows].sum()) / 3600, 1),
        "preprocessing": dict(manifest.provenance["preprocessing"]),
        "harnet": harnet.__version__,
        "torch": str(torch.__version__),
        "git_revision": git_revision(),
    }


def git_revision() -> str:
    """Revision of the source that runs, with "-dirty" if it was changed; "unknown" outside a checkout."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
