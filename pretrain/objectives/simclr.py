"""SimCLR: contrastive learning of two views of each window (Chen et al., ICML 2020, arXiv:2002.05709)."""

from collections.abc import Callable
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
"""Similarities held at a time: 268 MB in float32, of which a few copies exist temporarily."""

HIDDEN = 512
"""Width of the projection head's hidden layer."""


@dataclass(frozen=True)
class SimCLRConfig(ViewsConfig):
    """How the two views of a window are made and compared."""

    section: ClassVar[str] = "simclr"

    temperature: float = 0.1
    """Temperature of the cosine similarities; a lower one gives more weight to the nearest negatives."""
    projection: int = 128
    """Size of the projected vectors; the projection head is not exported."""

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
        """(M, P) vectors, not normalised."""
        projected: Tensor = self.projection(self.feature_extractor(x).flatten(1))
        return projected


class SimCLR:
    """Two views of every window go through the network; each must identify the other among all views of the batch."""

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
        """(2N, 3, T) in g, the windows that views are made of: each one twice. Subclasses may draw them by `keys`."""
        return counts.to_g(windows).repeat(2, 1, 1)

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> ObjectiveOutput:
        """NT-Xent over the views of all ranks, and how often the other view is the most similar one."""
        vectors = F.normalize(outputs.float(), dim=1)
        everyone, first = gather_from_all_ranks(vectors)
        loss, found = nt_xent(vectors, everyone, first, self.config.temperature)
        return ObjectiveOutput(loss, {"loss": loss.detach(), "accuracy/other_view": found})


def nt_xent(
    vectors: Tensor, everyone: Tensor, first: int, temperature: float, at_once: int = LOGITS_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """NT-Xent of this rank's (M, P) unit vectors, rows from `first` of (W, P); and the share identified correctly.

    Both are means over the M rows. At most about `at_once` of the M x W similarities are held at a time: if there are
    more, rows are processed in chunks that are recomputed in the backward pass instead of being kept. Otherwise
    64 ranks with 4,096 windows each would hold 17 GB per copy, forward and backward.
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
    """Sum of losses of `some` vectors, rows from `place` of all ranks' vectors, and how many identify their other view.

    The `rows` of this rank begin at `first`; the other view of each lies half of `rows` further on.
    """
    logits = some @ everyone.T / temperature
    own = torch.arange(place, place + len(some), device=some.device)
    logits = logits.masked_fill(own[:, None] == torch.arange(len(everyone), device=own.device), -torch.inf)
    other = first + (own - first + rows // 2) % rows
    return F.cross_entropy(logits, other, reduction="sum"), (logits.detach().argmax(1) == other).float().sum()


def gather_from_all_ranks(vectors: Tensor) -> tuple[Tensor, int]:
    """All-gather: (M, P) of this rank -> (world * M, P) in the order of ranks, and where this rank's rows begin.

    The gradient of a rank's rows is summed over the losses of all ranks. Each loss is the mean over a rank's own rows,
    and DDP averages gradients over ranks: so the update is that of one process with the global batch.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return vectors, 0
    if torch.is_inference_mode_enabled():
        # The held-out loss is computed on fixed pieces, and their number differs between ranks.
        return vectors, 0
    everyone: Tensor = _Gather.apply(vectors)
    return everyone, dist.get_rank() * len(vectors)


class _Gather(torch.autograd.Function):
    """All-gather, whose derivative is a reduce-scatter: no rank holds a second tensor as large as the result."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        everyone = vectors.new_empty(dist.get_world_size() * len(vectors), vectors.shape[1])
        _collective("all_gather_single", "all_gather_into_tensor")(everyone, vectors.contiguous())
        ctx.rows = len(vectors)
        return everyone

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty(ctx.rows, gradient.shape[1])
        _collective("reduce_scatter_single", "reduce_scatter_tensor")(own, gradient.contiguous())
        return own


def _collective(name: str, before: str) -> Callable[[Tensor, Tensor], object]:
    """A collective (output, input) of torch, by its name since torch 2.13, which deprecates the one before."""
    found: Callable[[Tensor, Tensor], object] = getattr(dist, name, None) or getattr(dist, before)
    return found
