"""Templates of HTML pages; each extends base.html.j2, which sets the content security policy and common styles."""

from functools import cache
from pathlib import Path

import jinja2


@cache
def page_environment(folder: Path) -> jinja2.Environment:
    """Environment for the templates in `folder`. Autoescape is on: names, labels and notes are untrusted."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
