"""`python -m launch` is equivalent to `harnet`, for machines where the console script is not on the PATH."""

import sys
from pathlib import Path

# `python -m` puts the current folder first on sys.path, where a file harnet.py or launch.py would shadow the package.
# Child processes inherit the cleaned list.
elsewhere = Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]
if __name__ == "__main__" and not sys.flags.safe_path and elsewhere:
    del sys.path[0]

from launch.cli import entry_point  # noqa: E402

if __name__ == "__main__":
    entry_point()
