"""Adds pages to the site that are not files in docs/: pages from elsewhere in the repository, and the command help.

MkDocs calls the functions named `on_...`; mkdocs.yml names this file.
"""

import contextlib
import io
import os
import posixpath
import re
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from launch.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
ELSEWHERE = ("CHANGELOG.md", "CONTRIBUTING.md", "slurm/README.md")
"""Pages that are stored elsewhere in the repository, where readers look for them; on the site they keep these names."""
LINK = re.compile(r"\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s#:]+)(?P<anchor>#[^()\s]*)?\)")
"""A link to a file: a path with an optional anchor; neither a URL nor an anchor on the same page."""
COLUMNS = "88"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files in docs/."""
    for name in ELSEWHERE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, "commands.md", content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that leave docs/ into links to pages of the site, or into plain text if the site has no such page."""
    uri = page.file.src_uri
    folder = posixpath.dirname(uri if uri in ELSEWHERE else f"docs/{uri}")

    def replaced(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link["target"]))
        target = re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))  # notebook_pages.py makes pages of notebooks
        if files.get_file_from_path(target) is None:
            if not (ROOT / path).exists():
                raise PluginError(f"{uri}: link to {link['target']}, which does not exist")
            return link["text"]
        return f"[{link['text']}]({posixpath.relpath(target, posixpath.dirname(uri) or '.')}{link['anchor'] or ''})"

    return LINK.sub(replaced, markdown)


def command_line() -> str:
    """The page with the help of all commands."""
    sections = [f"## harnet {name}\n\n```text\n{help_of(name, '--help')}\n```\n" for name in COMMANDS]
    head = "The output of `--help` for every command. `harnet` alone lists them:"
    return "\n".join(["# Command line\n", f"{head}\n\n```text\n{help_of('--help')}\n```\n", *sections])


def help_of(*arguments: str) -> str:
    """The output of `harnet` with these arguments, as plain text of a fixed width."""
    output, errors = io.StringIO(), io.StringIO()
    plain = mock.patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"})
    with plain, contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code or 0
    if code:
        raise PluginError(f"harnet {' '.join(arguments)}: {errors.getvalue() or f'exit code {code}'}")
    return output.getvalue().strip()
