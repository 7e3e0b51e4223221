"""`torchrun --nproc-per-node N -m pretrain ...`; the same options and the same numbers as `harnet pretrain`."""

import sys

from harnet.console import exit_with, guarded


def _main() -> int:
    from torch.distributed.elastic.multiprocessing.errors import record

    from pretrain.command import Command

    # torchrun then names the process that failed first, and what it said.
    return record(lambda: Command.parse("pretrain", sys.argv[1:]).run())() or 0


if __name__ == "__main__":
    exit_with(lambda: guarded("pretrain", "pretrain", _main))
