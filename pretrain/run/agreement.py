"""What every process must do at the same step, though one of them alone knows that it is due: stop, or save."""

import torch
import torch.distributed as dist
from torch import Tensor

from pretrain.parallel.distributed import Process


class Agreement:
    """Questions put to all processes at every step and answered at the next one, so that no step waits for them.

    They go over a group of their own, from host to host (gloo): the device and its exchange of gradients have no part
    in it. A process alone has its answer at once.
    """

    def __init__(self, process: Process) -> None:
        self._group = dist.new_group(timeout=process.timeout, backend="gloo") if process.world > 1 else None
        self._asked: tuple[dist.Work, Tensor] | None = None

    def any_rank(self, *flags: bool) -> list[bool]:
        """Whether any process raised each flag in its last call; every process must call it, with as many flags.

        The first answer, and the one after `settle`, is no. A flag must stay up until it is answered.
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
        """Wait for the answer that is due, if one is, and return it; `any_rank` no longer will."""
        if self._asked is None:
            return []
        work, raised = self._asked
        self._asked = None
        work.wait()
        return [value > 0 for value in raised.tolist()]
