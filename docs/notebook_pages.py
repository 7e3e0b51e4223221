"""Turns the notebooks in docs/notebooks into pages of the site, with their saved outputs; nothing is executed."""

import base64
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTEBOOKS = Path(__file__).parent / "notebooks"
LANGUAGES = {"%%bash": "bash", "%%writefile": "toml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page per notebook, and its images."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        page, pictures = as_markdown(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def as_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its images by the names under which it links to them."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        magic, _, rest = cell.source.partition("\n")
        language = LANGUAGES.get(magic.partition(" ")[0])
        parts.append(fence(rest, language) if language else fence(cell.source, "python"))
        for output in cell.outputs:
            if output.output_type == "stream":
                parts.append(fence(output.text, "text"))
            elif "image/png" in output.data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(output.data["image/png"])
                parts.append(f"![Output of the cell above]({name})")
            else:
                parts.append(fence(output.data["text/plain"], "text"))
    return "\n\n".join(parts) + "\n", pictures


def fence(text: str, language: str) -> str:
    """A block of code or output."""
    return f"```{language}\n{text.strip()}\n```"
