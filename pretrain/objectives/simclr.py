"""SimCLR: which of all windows is another view of this one? (Chen et al., ICML 2020, arXiv:2002.05709)"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from harnet.encoder import Encoder
from pretrain.model import ModelConfig
from pretrain.objectives.objective import ObjectiveOutput, PreparedBatch
from pretrain.objectives.views import ViewsConfig
from pretrain.transforms import counts, window_random
from pretrain.validation import at_least

LOGITS_AT_ONCE = 1 << 26
"""Similarities that are held at a time: 268 MB in float32, a few copies of which come and go."""

HIDDEN = 512
"""Width of the projection head's hidden layer."""


@dataclass(frozen=True)
class SimCLRConfig(ViewsConfig):
    """How the two views of a window are made, and how they are compared."""

    section: ClassVar[str] = "simclr"

    temperature: float = 0.1
    """By which cosine similarities are divided; less looks harder at the nearest negatives."""
    projection: int = 128
    """Size of the vectors that are compared; the projection head is not exported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1e-3, self.section, {"temperature": self.temperature})
        at_least(1, self.section, {"projection": self.projection})

    def objective(self, model: ModelConfig) -> "SimCLR":
        """The objective with these options."""
        return SimCLR(self, model)


class ProjectionModel(nn.Module):
    """Encoder and a projection head, linear F -> 512, ReLU, linear 512 -> P: (M, 3, L) in g -> (M, P)."""

    def __init__(self, encoder: Encoder, projection: int) -> None:
        super().__init__()
        self.feature_extractor = encoder
        self.projection = nn.Sequential(
            nn.Linear(encoder.architecture.features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, projection)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (M, P), of any length."""
        projected: Tensor = self.projection(self.feature_extractor(x).flatten(1))
        return projected


class SimCLR:
    """Two views of every window go through the network; each must find the other among all views of the batch."""

    def __init__(self, config: SimCLRConfig, model: ModelConfig) -> None:
        self.config, self.model, self.seconds = config, model, model.seconds

    def build(self) -> nn.Module:
        """Encoder and projection head."""
        return ProjectionModel(self.model.encoder(), self.config.projection)

    def prepare(self, windows: Tensor, keys: Tensor) -> PreparedBatch:
        """(2N, 3, T): first views of all windows, then second views; batch normalisation sees both together."""
        both = torch.cat([window_random.child_keys(keys, "first view"), window_random.child_keys(keys, "second view")])
        return PreparedBatch(self.config.changed(self.pairs(windows, keys), both))

    def pairs(self, windows: Tensor, keys: Tensor) -> Tensor:
        """(2N, 3, T) in g of what views are made: each window twice. `keys` are for objectives that draw it."""
        return counts.to_g(windows).repeat(2, 1, 1)

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> ObjectiveOutput:
        """NT-Xent over the views of all processes, and how often the other view is the most similar of them."""
        vectors = F.normalize(outputs.float(), dim=1)
        everyone, first = gather_from_all_ranks(vectors)
        loss, found = nt_xent(vectors, everyone, first, self.config.temperature)
        return ObjectiveOutput(loss, {"loss": loss.detach(), "accuracy/other_view": found})


def nt_xent(
    vectors: Tensor, everyone: Tensor, first: int, temperature: float, at_once: int = LOGITS_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """NT-Xent of this process's (M, P) unit vectors, rows `first` and on of (W, P), and the share that is found.

    Both are means over the M rows. Of the M x W similarities at most about `at_once` are held at a time: where there
    are more, rows are taken in pieces, which are computed again in the backward pass instead of being kept. Otherwise
    64 processes of 4,096 windows would hold 17 GB for each copy of them, forward and backward.
    """
    rows = len(vectors)
    step = max(1, min(rows, at_once // len(everyone)))
    losses, found = [], []
    for start in range(0, rows, step):
        arguments = vectors[start : start + step], everyone, first + start, first, rows, temperature
        if step == rows:
            loss, nearest = _of_rows(*arguments)
        else:
            loss, nearest = checkpoint(_of_rows, *arguments, use_reentrant=False, preserve_rng_state=False)
        losses.append(loss)
        found.append(nearest)
    return torch.stack(losses).sum() / rows, torch.stack(found).sum() / rows


def _of_rows(
    some: Tensor, everyone: Tensor, place: int, first: int, rows: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Sum of losses of `some` vectors, which are rows `place` and on of everyone's, and how many find their other view.

    A process's `rows` begin at `first`; the other view of each is half of them further on.
    """
    logits = some @ everyone.T / temperature
    own = torch.arange(place, place + len(some), device=some.device)
    logits = logits.masked_fill(own[:, None] == torch.arange(len(everyone), device=own.device), -torch.inf)
    other = first + (own - first + rows // 2) % rows
    return F.cross_entropy(logits, other, reduction="sum"), (logits.detach().argmax(1) == other).float().sum()


def gather_from_all_ranks(vectors: Tensor) -> tuple[Tensor, int]:
    """(M, P) of this process -> (world * M, P) of all, in the order of ranks, and where this process's rows begin.

    The gradient that reaches a process is the sum of what all processes' losses have to say about its rows. Each
    loss is the mean over a process's own rows, and distributed training averages gradients over processes: so the
    update is that of one process with the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return vectors, 0
    if torch.is_inference_mode_enabled():
        # The held-out loss is that of fixed pieces, and a process has its own number of them.
        return vectors, 0
    everyone: Tensor = _Gather.apply(vectors)
    return everyone, dist.get_rank() * len(vectors)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        everyone = vectors.new_empty(dist.get_world_size() * len(vectors), vectors.shape[1])
        dist.all_gather(list(everyone.chunk(dist.get_world_size())), vectors.contiguous())
        ctx.rows = len(vectors)
        return everyone

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank() * ctx.rows :][: ctx.rows]
