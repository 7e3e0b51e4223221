"""Notebooks call `harnet` and `torchrun` by name: those of the Python that runs the tests."""

import os
import sys
from pathlib import Path

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
