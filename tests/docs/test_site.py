"""Build the documentation site as CI does, follow every link, and open it in a real browser."""

import html.parser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from launch.cli import COMMANDS

if importlib.util.find_spec("material") is None or importlib.util.find_spec("mkdocstrings") is None:
    pytest.skip("needs pip install '.[docs]'", allow_module_level=True)

ROOT = Path(__file__).parents[2]
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("source", "src"), ("object", "data")}
"""Attributes whose targets a browser fetches by itself."""
NOT_LOADED = {"canonical", "next", "prev"}


class Page(html.parser.HTMLParser):
    """Anchors, links and loaded resources of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = set[str](), set[str](), set[str]()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        for name in {name for kind, name in LOADED if kind == tag} & values.keys():
            if values.get("rel") not in NOT_LOADED:
                self.loaded.add(values[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, env=quiet)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 25
    broken = []
    for path, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            missing = not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors)
            if missing and anchor != "__top":
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_every_page_is_reached_from_the_home_page(site: Path, pages: dict[Path, Page]) -> None:
    start = site / "index.html"
    seen, waiting = {start}, [start]
    while waiting:
        path = waiting.pop()
        for link in pages[path].links:
            target = (path.parent / urldefrag(link).url).resolve() if urldefrag(link).url else path
            if target in pages and target not in seen:
                seen.add(target)
                waiting.append(target)
    assert seen == set(pages)


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    assert {item for page in pages.values() for item in page.loaded if urlsplit(item).netloc} == set()
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import\s)[\"']?(?:https?:)?//[^)\"']*", sheet.read_text()) == []


def test_the_reference_is_generated(site: Path) -> None:
    commands = (site / "commands.html").read_text()
    assert [name for name in COMMANDS if f"usage: harnet {name} " not in commands] == []
    assert "windows_per_visit" in (site / "api" / "data_shards.html").read_text()
    assert 'id="harnet.load_encoder"' in (site / "api" / "harnet.html").read_text()


SEARCHING = b"""<!DOCTYPE html><title>waits for the search</title><ul></ul>
<iframe src="index.html?q=withdrawals"></iframe><img src="held.png">
<script>
  const look = setInterval(() => {
    const found = document.querySelector("iframe").contentDocument.querySelectorAll("a.md-search-result__link");
    if (found.length === 0) return;
    clearInterval(look);
    document.querySelector("ul").append(...[...found].map((link) => link.href + " "));
    fetch("found.txt");
  }, 50);
</script>
"""
"""A browser returns a page once it has loaded; this one finishes loading only when the search has found something."""


class Handler(SimpleHTTPRequestHandler):
    """Serve the site and forbid requests to any other host: the browser blocks them and logs an error."""

    found = threading.Event()

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        if name not in ("searching.html", "held.png", "found.txt"):
            super().do_GET()
            return
        if name == "held.png":
            self.found.wait(60)
        if name == "found.txt":
            self.found.set()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(SEARCHING if name == "searching.html" else b"")

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data: blob:")
        super().end_headers()

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture(scope="module")
def browse(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Open a page of the site in headless Chromium and return the resulting page; any error in it fails the test."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium on the PATH")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(page: str) -> str:
        quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--hide-scrollbars"]  # fmt: skip
        command = [chromium, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={tmp_path_factory.mktemp('p')}"]
        command += ["--enable-logging=stderr", "--window-size=1300,1000", "--dump-dom"]
        command.append(f"http://127.0.0.1:{server.server_port}/{page}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in done.stderr
        return done.stdout

    yield run
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("page", ["index.html", "ingest.html", "concepts.html", "api/harnet.html"])
def test_a_browser_shows_it_and_asks_no_other_host(browse: Callable, page: str) -> None:
    assert "<h1" in browse(page)


def test_the_search_finds(browse: Callable) -> None:
    assert "/shards.html?h=withdrawals#withdrawals" in browse("searching.html")
