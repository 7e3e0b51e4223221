"""Execute the notebooks of this folder in place, so that the saved outputs are those of this version.

python docs/notebooks/refresh.py [NAME.ipynb ...]
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def refresh(path: Path) -> None:
    """Execute a notebook and write it back with its outputs, without times, which would differ every time."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True).execute(cwd=FOLDER)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.name for path in FOLDER.glob("*.ipynb")):
        start = time.monotonic()
        refresh(FOLDER / name)
        print(f"{name}: {time.monotonic() - start:.0f} s")
