import shutil
import warnings
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo.config
import torch._inductor.config
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from harnet.errors import HarnetError
from pretrain import objectives
from pretrain.config import PretrainConfig
from pretrain.parallel.compilation import compile_mode, compile_or_fall_back, compiled_if_equal
from pretrain.parallel.distributed import Process
from pretrain.run.probe import ProbeConfig
from pretrain.run.training import train
from pretrain.transforms import chain
from pretrain.transforms.window_random import window_keys
from tests.pretrain.runs import alone, digest, in_processes, losses, small, together

# The compiler of torch 2.13 still uses its own deprecated torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

ALONE = Process(0, 1, torch.device("cpu"))
INPUTS = torch.linspace(-1, 1, 24).reshape(4, 6)


class Network(nn.Module):
    """A class of its own: torch.compile skips a bare nn.Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x)).relu()


def network() -> nn.Module:
    torch.manual_seed(0)
    return Network()


def compiled(made: nn.Module) -> str:
    return compile_or_fall_back(made, "default", lambda: made(INPUTS).square().mean().backward(), ALONE)


def test_a_compiler_that_fails_costs_one_line_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    # Otherwise the result of an earlier compilation may be in the cache.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    made = network()
    with torch._inductor.config.patch({"cpp.cxx": ("/no/such/compiler",)}):
        said = compiled(made)
    assert said.startswith("not compiled, continuing without: ")
    assert "\n" not in said
    for ours, theirs in zip(made.state_dict().values(), network().state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(parameter.grad is None for parameter in made.parameters())
    assert torch.equal(made(INPUTS), network()(INPUTS))


def test_a_compiled_network_keeps_its_names_and_its_numbers() -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler, which torch.compile uses on the CPU")
    torch._dynamo.reset()
    made = network()
    assert compiled(made) == "compiled, mode default"
    assert list(made.state_dict()) == list(network().state_dict())
    for ours, theirs in zip(made.state_dict().values(), network().state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(made(INPUTS), network()(INPUTS))


def plain(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
    """A quick compiler: it runs graphs as they are."""
    return make_boxed_func(graph.forward)


def failing_when_run(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
    """A compiler of kernels that are built when they first run."""

    def run(*arguments: torch.Tensor) -> object:
        raise OSError("no compiler")

    return make_boxed_func(run)


@pytest.mark.parametrize("name", objectives.objective_names())
def test_every_objective_trains_on_where_the_compiler_fails(
    name: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit-identical to a run with compilation off, though the forward pass has already changed the batch statistics."""
    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=plain, bw_compiler=failing_when_run)
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: real(self, backend=backend))
    finals = []
    for mode in ("off", "default"):
        config = replace(small(shards, tmp_path / mode, steps=3, compile=mode), objective=name)
        finals.append(digest(alone(config)))
    assert "not compiled, continuing without: OSError: no compiler" in capsys.readouterr().out
    assert finals[0] == finals[1]
    assert losses(tmp_path / "off") == losses(tmp_path / "default")


def test_a_network_that_exchanges_statistics_is_not_compiled(shards: Path, tmp_path: Path) -> None:
    together(small(shards, tmp_path / "run", steps=3, compile="default", sync_batchnorm=True), 2)
    assert list(losses(tmp_path / "run")) == [1, 2, 3]


def test_advice_of_the_compiler_to_use_tf32_is_not_passed_on(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On recent GPUs the compiler warns that fp32 could be computed in TF32. Here warnings are errors."""
    torch._dynamo.reset()

    def advising(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        warnings.warn("TensorFloat32 tensor cores for float32 matrix multiplication available", stacklevel=1)
        return graph.forward

    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: real(self, backend=advising))
    alone(small(shards, tmp_path / "run", steps=3, compile="default"))
    assert "compiled, mode default" in capsys.readouterr().out


class Counted:
    """A quick compiler: it runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        self.graphs.append(graph)
        return graph.forward


def counting(monkeypatch: pytest.MonkeyPatch) -> Counted:
    torch._dynamo.reset()
    counted, real = Counted(), nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: real(self, backend=counted))
    return counted


def test_evaluation_the_probe_and_the_average_compile_nothing(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One graph for the whole run: that of a micro-batch in training. Held-out batches have other lengths."""
    counted = counting(monkeypatch)
    random = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", random.normal(0.6, 0.1, (12, 3, 150)).astype(np.float32))
    np.save(tmp_path / "Y.npy", np.tile(["walk", "sit"], 6))
    np.save(tmp_path / "pid.npy", np.repeat(["a", "b", "c"], 4))
    probe = ProbeConfig(tmp_path, every=2, folds=2)
    for mode in ("off", "default"):
        config = small(shards, tmp_path / mode, {"ema_decay": 0.9}, probe, accumulate=2, compile=mode)
        alone(replace(config, data=replace(config.data, heldout_windows=12)))
    assert len(counted.graphs) == 1
    assert losses(tmp_path / "default") == losses(tmp_path / "off")
    assert losses(tmp_path / "default", "heldout") == losses(tmp_path / "off", "heldout")


def test_several_objectives_are_compiled_together(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their network has one output for each objective."""
    counted = counting(monkeypatch)
    for mode in ("off", "default"):
        alone(replace(small(shards, tmp_path / mode, steps=3, compile=mode), objective="multitask+simclr"))
    assert "compiled, mode default" in capsys.readouterr().out
    assert len(counted.graphs) == 1
    assert losses(tmp_path / "default") == losses(tmp_path / "off")


def as_one_of_two(process: Process, config: PretrainConfig, out: Path) -> None:
    """Small buckets, so that there is something to cut; the number of graphs is written to a file."""
    with pytest.MonkeyPatch.context() as patch:
        counted = counting(patch)
        init = DistributedDataParallel.__init__
        patch.setattr(torch.distributed, "_DEFAULT_FIRST_BUCKET_BYTES", 1000)
        patch.setattr(DistributedDataParallel, "__init__", partialmethod(init, bucket_cap_mb=0.02))
        train(config, process)
    (out / f"{process.rank}.txt").write_text(str(len(counted.graphs)))


def test_graphs_are_cut_where_gradients_are_exchanged(shards: Path, tmp_path: Path) -> None:
    """In a single graph all gradients would come at the end, and no all-reduce could overlap with the backward pass."""
    config = small(shards, tmp_path / "run", compile="default")
    in_processes(2, as_one_of_two, config, tmp_path)
    assert [int((tmp_path / f"{rank}.txt").read_text()) > 2 for rank in range(2)] == [True, True]
    together(small(shards, tmp_path / "plain"), 2)
    assert losses(tmp_path / "run") == losses(tmp_path / "plain")


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_cuda_graphs_and_pieces_are_refused_together(mode: str, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"run.accumulate is 2: with CUDA graphs.* max-autotune-no-cudagraphs"):
        small(tmp_path, tmp_path, compile=mode, accumulate=2)


def test_auto_compiles_on_cuda_alone() -> None:
    assert compile_mode("auto", torch.device("cuda", 0)) == "default"
    assert compile_mode("auto", torch.device("cpu")) == "off"
    assert compile_mode("max-autotune", torch.device("cpu")) == "max-autotune"


def whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: transform every window, then select the chosen ones."""
    monkeypatch.setattr(chain, "to_chosen", chain.to_all)


@pytest.mark.parametrize("name", objectives.objective_names())
def test_transforms_are_one_graph_that_no_epoch_compiles_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_batch(monkeypatch)
    counted = Counted()
    torch._dynamo.reset()
    config = replace(small(tmp_path, tmp_path), objective=name)
    objective = objectives.create_objective(config, config.model)
    counts = torch.randint(-4096, 4096, (8, 3, objective.seconds * 30), dtype=torch.int16)
    compiled = torch.compile(objective.prepare, backend=counted, dynamic=False, fullgraph=True)
    for epoch in range(2):
        keys = window_keys(0, epoch, torch.arange(8))
        # Uncompiled first: this builds the tables that the compiler must find.
        expected, found = objective.prepare(counts, keys), compiled(counts, keys)
        assert torch.equal(found.inputs, expected.inputs)
        assert all(torch.equal(found.targets[target], one) for target, one in expected.targets.items())
    assert len(counted.graphs) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(0.0, "transforms compiled"), (0.01, "their results would differ"), (None, "not compiled: BackendCompilerFailed")],
)
def test_transforms_that_come_out_otherwise_when_compiled_are_not(
    wrong: float | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_batch(monkeypatch)
    torch._dynamo.reset()

    def faulty(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        if wrong is None:
            raise OSError("no compiler")
        return lambda *values: [one + wrong if one.is_floating_point() else one for one in graph(*values)]

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *given, **options: real(*given, backend=faulty, **options))
    config = small(tmp_path, tmp_path)
    prepare = objectives.create_objective(config, config.model).prepare
    counts, keys = torch.zeros(8, 3, 150, dtype=torch.int16), window_keys(0, 0, torch.arange(8))
    chosen, found = compiled_if_equal(prepare, counts, keys)
    assert said in found
    assert (chosen == prepare) == bool(wrong != 0.0)
