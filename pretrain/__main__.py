"""`torchrun --nproc-per-node N -m pretrain ...`; the same options and the same numbers as `harnet pretrain`."""

import sys
from pathlib import Path

# `python -m` puts the current folder first on sys.path, where a file harnet.py or launch.py would shadow the package.
# Child processes inherit the cleaned list.
elsewhere = Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]
if __name__ == "__main__" and not sys.flags.safe_path and elsewhere:
    del sys.path[0]

from harnet.console import exit_with, guarded  # noqa: E402


def _main() -> int:
    from torch.distributed.elastic.multiprocessing.errors import record

    from pretrain.command import Command

    # Lets torchrun report which process failed first, with its message.
    return record(lambda: Command.parse("pretrain", sys.argv[1:]).run())() or 0


if __name__ == "__main__":
    exit_with(lambda: guarded("pretrain", "train", _main))
