"""Runs a configuration to its last checkpoint: locks the run folder, logs, and stops on request."""

from contextlib import ExitStack
from pathlib import Path

from harnet.run_folder import checkpoint_folder
from pretrain.config import PretrainConfig
from pretrain.parallel.distributed import Process
from pretrain.run import tracking
from pretrain.run.build import build_run
from pretrain.run.headline import headline
from pretrain.run.lock import run_lock
from pretrain.run.log import JsonLines, Log, Sink, TensorBoard
from pretrain.run.loop import Run
from pretrain.run.memory import advice_when_out_of_memory
from pretrain.run.signals import StopRequest


def train(config: PretrainConfig, process: Process) -> Path:
    """Train to the end, resuming from the newest valid checkpoint of the run folder; return the last one.

    Raises:
        HarnetError: the run folder belongs to another run or is in use, the shards do not suffice, the loss is not
            finite, or memory ran out.
        KeyboardInterrupt: it was asked to stop; the checkpoint has been written.
    """
    advice = advice_when_out_of_memory(config.data.batch, config.run.accumulate, process.world, config.run.precision)
    with ExitStack() as stack:
        process.run_on_first_rank(lambda: stack.enter_context(run_lock(config.run.out)))
        stack.enter_context(advice)
        run = build_run(config, process)
        with Log(_sinks(run)) as log, StopRequest() as stop, run.checkpoint_writer:
            stopped = run.train(log, stop)
    if stopped:
        raise KeyboardInterrupt
    return checkpoint_folder(config.run.out, run.state.step)


def _sinks(run: Run) -> list[Sink]:
    """Sinks of the log, on rank 0 only, which also prints the headline."""
    if not run.process.first:
        return []
    out, step = run.config.run.out, run.state.step
    out.mkdir(parents=True, exist_ok=True)
    print("\n".join(headline(run)))
    sinks: list[Sink] = [JsonLines(out, step), TensorBoard(out, step)]
    tracker = tracking.create_tracker(run.config.tracking, out, run.metadata)
    return [*sinks, tracker] if tracker else sinks
