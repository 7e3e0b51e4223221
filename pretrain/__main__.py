"""`torchrun --nproc-per-node N -m pretrain ...`; the same options and the same numbers as `harnet pretrain`."""

import sys

from harnet.console import exit_with, guarded


def _main() -> int:
    from pretrain.command import Command

    return Command.parse("pretrain", sys.argv[1:]).run()


if __name__ == "__main__":
    exit_with(lambda: guarded("pretrain", "pretrain", _main))
