"""NCCL flight recorder: the last collectives of each rank, dumped when one times out.

torch keeps the last collectives in a ring buffer and, when one times out, writes them to one file per rank. Together
the files show which rank did not join which collective: `torchfrtrace --prefix nccl-flight-process- RUN` compares them.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from harnet.run_folder import FLIGHT

EXCHANGES = 2000
"""Size of the ring buffer: some hundred steps; a few hundred bytes per entry."""


def enable(run: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Record collectives and, after a timeout, dump them to the run folder. Variables that are already set stay.

    Call it before the process group is created, which reads them.
    """
    settings = {
        # Older names of the first and last, which torch still accepts: TORCH_NCCL_TRACE_BUFFER_SIZE and
        # TORCH_NCCL_DEBUG_INFO_TEMP_FILE.
        "TORCH_FR_BUFFER_SIZE": str(EXCHANGES),
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": str(run.absolute() / FLIGHT),
    }
    for name, value in settings.items():
        environment.setdefault(name, value)
