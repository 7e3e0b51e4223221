"""Figures in a document that a command refreshes, on the lines between two markers."""

from pathlib import Path

from harnet.errors import HarnetError
from harnet.files import write_atomically


def refresh(document: Path, name: str, lines: list[str]) -> None:
    """Replace the lines between `<!-- NAME: begin -->` and `<!-- NAME: end -->`; HarnetError if these are missing."""
    begin, end = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
    text = document.read_text("utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise HarnetError(f"{document}: no lines {begin} and {end} in it, between which the figures belong")
    write_atomically(document, "\n".join([f"{before}{begin}", *lines, f"{end}{after}"]))
