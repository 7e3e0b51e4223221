"""`python -m launch` is `harnet`, for machines where the console script is not on the path."""

import sys
from pathlib import Path

# `python -m` puts the folder where it was started first: a file harnet.py or launch.py there is not what is meant.
# Not in processes that this one starts, which get the list as it is then.
elsewhere = Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]
if __name__ == "__main__" and not sys.flags.safe_path and elsewhere:
    del sys.path[0]

from launch.cli import entry_point  # noqa: E402

if __name__ == "__main__":
    entry_point()
