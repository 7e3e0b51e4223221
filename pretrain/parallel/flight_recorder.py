"""What a process asked of NCCL last, written down when the processes no longer answer each other.

torch keeps the last exchanges in a ring and, when one of them times out, writes them to a file a process. Together the
files say which process did not come to which exchange: `torchfrtrace --prefix nccl-flight-process- RUN` compares them.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from harnet.run_folder import FLIGHT

EXCHANGES = 2000
"""Kept in the ring: some hundred steps, a few hundred bytes each."""


def enable(run: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Have it recorded and, after a time-out, written to the run folder. What is set already stays.

    Before the process group is made, which reads it.
    """
    settings = {
        # Older names of the first and last, which torch still reads: TORCH_NCCL_TRACE_BUFFER_SIZE and
        # TORCH_NCCL_DEBUG_INFO_TEMP_FILE.
        "TORCH_FR_BUFFER_SIZE": str(EXCHANGES),
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": str(run.absolute() / FLIGHT),
    }
    for name, value in settings.items():
        environment.setdefault(name, value)
