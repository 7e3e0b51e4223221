"""Forward and backward of a global batch: transforms, network, loss, gradient accumulation, clipping."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data_shards.layout import RATE
from harnet.encoder import AXES
from pretrain.config import PretrainConfig
from pretrain.data.loading import LocalBatch, to_device
from pretrain.objectives import Objective, ObjectiveOutput
from pretrain.parallel.compilation import (
    Prepare,
    compile_mode,
    compile_or_fall_back,
    compiled_if_equal,
    without_compilation,
)
from pretrain.parallel.distributed import Process
from pretrain.transforms.window_random import window_keys


@dataclass(frozen=True)
class Gradient:
    """Results of forward and backward on the local batch; the gradient itself is in the parameters."""

    loss: Tensor
    """Scalar, over the windows of this rank."""
    norm: Tensor
    """Scalar, norm of the gradient averaged over all ranks, before clipping."""
    metrics: dict[str, Tensor]
    """Detached scalars, over the windows of this rank."""


class BatchStep:
    """Forward and backward of a batch, with the settings of a run."""

    def __init__(self, config: PretrainConfig, process: Process, objective: Objective, network: nn.Module) -> None:
        self._config, self._process, self._objective = config, process, objective
        self._network, self._wrapped = network, _wrap(network, process)
        self._prepare: Prepare = objective.prepare

    def gradient(self, part: LocalBatch) -> Gradient:
        """Compute the clipped gradients of the parameters, accumulated over `run.accumulate` micro-batches."""
        count = self._config.run.accumulate
        self._network.zero_grad(set_to_none=True)
        outcomes = []
        for number, piece in enumerate(micro_batches(part, count)):
            with self._exchange(last=number == count - 1):
                outcome = self.outcome(self._wrapped, piece)
                (outcome.loss / count).backward()
            outcomes.append(outcome)
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), self._config.optimizer.clip_norm)
        metrics = {name: _mean([one.metrics[name] for one in outcomes]) for name in outcomes[0].metrics}
        return Gradient(_mean([one.loss.detach() for one in outcomes]), norm.detach(), metrics)

    def outcome(self, network: nn.Module, part: LocalBatch, seed: int | None = None) -> ObjectiveOutput:
        """Transforms, forward under the configured precision, loss; draws use the run's seed unless `seed` is given."""
        seed = self._config.run.seed if seed is None else seed
        counts, keys = to_device(part, seed, self._process.device)
        prepared = self._prepare(counts, keys)
        return self._objective.score(self._forward(network, prepared.inputs), prepared.targets)

    def compile(self) -> list[str]:
        """Compile network and transforms if configured; return at most one line about the result."""
        mode = compile_mode(self._config.run.compile, self._process.device)
        if mode == "off":
            return []
        with warnings.catch_warnings():
            # The compiler recommends TF32, which `arithmetic.configure` switches off: fp32 means fp32.
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")
            return [self._compile(mode)]

    def _compile(self, mode: str) -> str:
        process = self._process
        counts, keys = self._example()
        said = ""
        if process.device.type == "cuda":
            # On the CPU, transforms run on the chosen windows only, whose number changes at every step.
            self._prepare, said = compiled_if_equal(self._objective.prepare, counts, keys)
            said = f"; {said}"
        if self._config.run.sync_batchnorm and process.world > 1:
            # The trial runs the network, which would hang waiting for a rank whose compiler has failed.
            return "not compiled: compilation is disabled with run.sync_batchnorm on several processes"
        inputs = self._objective.prepare(counts, keys).inputs
        return compile_or_fall_back(self._network, mode, partial(self._try_out, inputs), process) + said

    def without_compilation(self) -> AbstractContextManager[object]:
        """While entered, nothing runs compiled. A run without compilation does not even load the compiler."""
        off = compile_mode(self._config.run.compile, self._process.device) == "off"
        return nullcontext() if off else without_compilation()

    def _example(self) -> tuple[Tensor, Tensor]:
        """Random counts and keys with the shapes of a micro-batch in training."""
        count = self._config.data.batch // (self._process.world * self._config.run.accumulate)
        draw = torch.Generator().manual_seed(0)
        counts = torch.randint(-4096, 4096, (count, AXES, self._objective.seconds * RATE), generator=draw)
        keys = window_keys(self._config.run.seed, 0, torch.arange(count))
        return counts.to(self._process.device, torch.int16), keys.to(self._process.device)

    def _try_out(self, inputs: Tensor) -> None:
        """Forward and backward of one micro-batch, without all-reduce.

        Runs through the DDP wrapper: only then does the compiler know the gradient buckets, so that each can be
        all-reduced while the rest is computed.
        """
        with self._exchange(last=False):
            output: Tensor | tuple[Tensor, ...] = self._forward(self._wrapped, inputs)
            # Several objectives have an output each.
            outputs = output if isinstance(output, tuple) else (output,)
            torch.stack([one.float().square().mean() for one in outputs]).sum().backward()

    def _forward(self, network: nn.Module, inputs: Tensor) -> Tensor:
        device, bf16 = self._process.device.type, self._config.run.precision == "bf16"
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            output: Tensor = network(inputs)
        return output

    def _exchange(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are all-reduced once per batch, with its last micro-batch."""
        if last or not isinstance(self._wrapped, DistributedDataParallel):
            return nullcontext()
        context: AbstractContextManager[None] = self._wrapped.no_sync()
        return context


def micro_batches(part: LocalBatch, count: int) -> list[LocalBatch]:
    """The local batch in `count` micro-batches of equal size, in order of position.

    Lanes are numbered along the batch and dealt to the ranks in turn, so if `count` x world size divides the number of
    lanes, the n-th micro-batches of all ranks together are the same windows for every world size.
    """
    if count == 1:
        return [part]
    size = len(part.windows) // count
    assert size * count == len(part.windows)
    cuts = [slice(number * size, (number + 1) * size) for number in range(count)]
    return [replace(part, windows=part.windows[cut], positions=part.positions[cut]) for cut in cuts]


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean()


def _wrap(network: nn.Module, process: Process) -> nn.Module:
    if process.world == 1:
        return network
    devices = [process.device.index] if process.device.type == "cuda" else None
    with warnings.catch_warnings():
        # torch 2.13 renamed `broadcast_buffers`; 2.11 does not know the new name.
        warnings.simplefilter("ignore", FutureWarning)
        # Batch statistics are only used in evaluation mode, before which those of rank 0 are broadcast.
        return DistributedDataParallel(
            network, device_ids=devices, gradient_as_bucket_view=True, broadcast_buffers=False
        )
