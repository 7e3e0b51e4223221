"""Builds a run from its configuration."""

import json

import torch

from data_shards.shards.manifest import Manifest
from data_shards.stream.plan import lanes_of
from data_shards.stream.planner import Planner
from harnet.errors import HarnetError
from pretrain import objectives
from pretrain.config import PretrainConfig, settings_shared_by_ranks
from pretrain.data.heldout import HeldOut
from pretrain.data.loading import LoadingOptions, open_manifest
from pretrain.objectives import Objective
from pretrain.optim import optimizers
from pretrain.optim.ema import AverageNetwork
from pretrain.optim.schedules import Horizon
from pretrain.parallel import arithmetic, batchnorm
from pretrain.parallel.distributed import Process
from pretrain.run import flops, provenance
from pretrain.run.agreement import Agreement
from pretrain.run.loop import Run
from pretrain.run.meters import Meters
from pretrain.run.probe import Probe
from pretrain.run.state import State
from pretrain.run.step import BatchStep
from pretrain.run.stopping import EarlyStopping
from pretrain.run.trace import Trace


def build_run(config: PretrainConfig, process: Process) -> Run:
    """A run ready for its next step: the first, or the one after the newest valid checkpoint.

    Raises:
        HarnetError: the run folder belongs to another run, the shards do not suffice, or the ranks disagree.
    """
    manifest = open_manifest(config.data)
    planner = Planner(manifest, "train", config.order(), LoadingOptions.of(config.data).cache)
    config = config.in_steps(planner.steps)
    lanes_of(process.rank, process.world * config.run.accumulate, config.data.lanes)
    arithmetic.configure(process.device, config.run.deterministic)
    objective = objectives.create_objective(config, config.model)
    state = _initialised(config, process, objective)
    cost = flops.per_window(objective, state.network)
    origin = provenance.shared_provenance(config, manifest, process)
    metadata = {"config": config.as_dict(), "manifest_digest": manifest.digest, "provenance": origin}
    state.resume(config, process, manifest, metadata)
    _check_same_on_all_ranks(config, process, manifest, state.step)
    computing = BatchStep(config, process, objective, state.network)
    notes = computing.compile()
    peak, source = flops.peak(process.device, config.run.precision)
    notes.append(
        f"{cost / 1e9:.3f} GFLOP per window, forward and backward; peak of the device: {peak / 1e12:.3g} TFLOP/s "
        f"({source})"
    )
    return Run(
        config,
        process,
        objective,
        manifest,
        planner,
        Horizon(config.steps, planner.steps, config.optimizer.warmup_steps, config.data.batch),
        metadata,
        state,
        computing,
        _heldout(config, process, manifest),
        Probe(config.probe, config.model.architecture) if config.probe.folder and process.first else None,
        Meters(process, cost / peak),
        Agreement(process),
        Trace(config.trace, process, config.run.out),
        notes,
    )


def _initialised(config: PretrainConfig, process: Process, objective: Objective) -> State:
    """Network, optimiser and everything else as before the first step."""
    torch.manual_seed(config.run.seed)
    network = objective.build().to(process.device)
    network = batchnorm.synchronise(network, process) if config.run.sync_batchnorm else network
    decay = config.optimizer.ema_decay
    average = AverageNetwork(network, decay) if decay else None
    return State(
        network, optimizers.create_optimizer(network, config.optimizer), average, EarlyStopping(config.run.patience)
    )


def _check_same_on_all_ranks(config: PretrainConfig, process: Process, manifest: Manifest, step: int) -> None:
    """With different shards or options, or a stale view of the run folder, a node would train on other data or hang."""
    if not process.same_on_all_ranks(
        json.dumps([settings_shared_by_ranks(config.as_dict()), manifest.digest, step], sort_keys=True)
    ):
        raise HarnetError(
            f"rank {process.rank} would start at step {step} of {config.run.out} with manifest "
            f"{manifest.digest[:16]}, but other ranks would not: give every node the same options, the same shards and "
            "the same run folder"
        )


def _heldout(config: PretrainConfig, process: Process, manifest: Manifest) -> HeldOut:
    heldout = HeldOut(config, process, manifest)
    if config.run.patience and not heldout.windows:
        raise HarnetError(
            f"run.patience is {config.run.patience}, but there is no held-out loss: too few people are held out, or "
            "data.heldout_windows is too small; omit run.patience"
        )
    return heldout
