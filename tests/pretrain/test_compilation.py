import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch._inductor.config
from torch import nn

from pretrain import objectives
from pretrain.parallel.compilation import compile_or_go_on
from pretrain.parallel.distributed import Process
from tests.pretrain.runs import alone, digest, losses, small, together

# torch 2.13's own compiler still uses its deprecated torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

ALONE = Process(0, 1, torch.device("cpu"))
INPUTS = torch.linspace(-1, 1, 24).reshape(4, 6)


class Network(nn.Module):
    """Its own class: torch.compile passes over a bare nn.Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x)).relu()


def network() -> nn.Module:
    torch.manual_seed(0)
    return Network()


def test_a_compiler_that_fails_costs_one_line_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    # Else what an earlier run compiled may be at hand.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    made = network()
    with torch._inductor.config.patch({"cpp.cxx": ("/no/such/compiler",)}):
        said = compile_or_go_on(made, "default", INPUTS, torch.float32, ALONE)
    assert said.startswith("not compiled, going on without: ")
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
    assert compile_or_go_on(made, "default", INPUTS, torch.float32, ALONE) == "compiled, mode default"
    assert list(made.state_dict()) == list(network().state_dict())
    for ours, theirs in zip(made.state_dict().values(), network().state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(made(INPUTS), network()(INPUTS))


@pytest.mark.parametrize("name", objectives.names())
def test_every_objective_trains_on_where_the_compiler_fails(
    name: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same bits as a run that was never to be compiled."""
    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    finals = []
    for mode in ("off", "default"):
        config = replace(small(shards, tmp_path / mode, steps=3, compile=mode), objective=name)
        with torch._inductor.config.patch({"cpp.cxx": ("/no/such/compiler",)}):
            finals.append(digest(alone(config)))
    assert "not compiled, going on without: " in capsys.readouterr().out
    assert finals[0] == finals[1]
    assert losses(tmp_path / "off") == losses(tmp_path / "default")


def test_a_network_that_exchanges_statistics_is_not_compiled(shards: Path, tmp_path: Path) -> None:
    together(small(shards, tmp_path / "run", steps=3, compile="default", sync_batchnorm=True), 2)
    assert list(losses(tmp_path / "run")) == [1, 2, 3]
