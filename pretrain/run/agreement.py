"""Decisions that all ranks must make at the same step although only one may know of them: to stop, or to save."""

import torch
import torch.distributed as dist
from torch import Tensor

from pretrain.parallel.distributed import Process


class Agreement:
    """Flags that are all-reduced asynchronously: posted at one step, read at the next, so that no step waits.

    They use a separate gloo group on the hosts, so the device and the all-reduce of gradients are not involved. A
    single process gets its answer at once.
    """

    def __init__(self, process: Process) -> None:
        self._group = dist.new_group(timeout=process.timeout, backend="gloo") if process.world > 1 else None
        self._asked: tuple[dist.Work, Tensor] | None = None

    def any_rank(self, *flags: bool) -> list[bool]:
        """For each flag, whether any rank raised it in its previous call; every rank must pass as many flags.

        The first answer, and the first after `settle`, is False. A flag must stay raised until it is answered.
        """
        if self._group is None:
            return list(flags)
        answer = self.settle() or [False] * len(flags)
        raised = torch.tensor(flags, dtype=torch.float32)
        work = dist.all_reduce(raised, dist.ReduceOp.MAX, group=self._group, async_op=True)
        assert work is not None
        self._asked = work, raised
        return answer

    def settle(self) -> list[bool]:
        """Wait for the pending answer, if any, and return it; `any_rank` will not return it again."""
        if self._asked is None:
            return []
        work, raised = self._asked
        self._asked = None
        work.wait()
        return [value > 0 for value in raised.tolist()]
