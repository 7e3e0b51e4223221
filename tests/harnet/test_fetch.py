"""Downloads from a real server on this machine: resumed, verified, and unpacked safely."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harnet.datasets.fetch import SUM, fetch
from harnet.datasets.registry import DATASETS, DataSet
from harnet.errors import HarnetError
from launch.cli import main


class Server(ThreadingHTTPServer):
    content = b""
    cut_at: int | None = None
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        ranged = self.headers.get("Range", "")
        self.server.asked.append(ranged)
        start = int(ranged.removeprefix("bytes=").rstrip("-") or 0)
        body = self.server.content[start:]
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_at])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def archive(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return held.getvalue()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        made.asked = []
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def pointed(server: Server) -> DataSet:
    return replace(DATASETS["adl"], url=f"http://127.0.0.1:{server.server_port}/adl.zip")


def test_a_cut_download_is_continued_and_its_digest_kept(server: Server, tmp_path: Path) -> None:
    server.content = archive({"inner.zip": archive({"Walk/a.txt": bytes(range(256)) * 40})})
    server.cut_at = 100
    with pytest.raises(HarnetError, match="the same command resumes it"):
        fetch(pointed(server), tmp_path)
    server.cut_at = None
    raw = fetch(pointed(server), tmp_path)
    assert server.asked == ["", "bytes=100-"]
    assert (raw / "inner" / "Walk" / "a.txt").read_bytes() == bytes(range(256)) * 40
    digest = hashlib.sha256(server.content).hexdigest()
    assert (tmp_path / SUM).read_text() == f"{digest}  adl.zip\n"
    fetch(pointed(server), tmp_path, sha256=digest.upper())
    assert len(server.asked) == 2, "nothing is fetched twice"
    with pytest.raises(HarnetError, match="--sha256 says"):
        fetch(pointed(server), tmp_path, sha256="0" * 64)
    (tmp_path / "adl.zip").write_bytes(server.content + b"x")
    with pytest.raises(HarnetError, match=rf"{SUM} says"):
        fetch(pointed(server), tmp_path)


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt", "..\\outside.txt"])
def test_a_path_that_leads_out_is_not_unpacked(server: Server, name: str, tmp_path: Path) -> None:
    server.content = archive({name: b"x"})
    with pytest.raises(HarnetError, match="not unpacked"):
        fetch(pointed(server), tmp_path / "here")
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_bomb_and_a_page_instead_of_an_archive_are_refused(server: Server, tmp_path: Path) -> None:
    server.content = archive({"zeros": bytes(10_000_000)})
    with pytest.raises(HarnetError, match="which is implausible"):
        fetch(pointed(server), tmp_path / "a")
    server.content = b"<html>please sign in</html>"
    with pytest.raises(HarnetError, match="not a complete zip archive"):
        fetch(pointed(server), tmp_path / "b")


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="cannot be reached"):
        fetch(replace(DATASETS["adl"], url="http://127.0.0.1:9/adl.zip"), tmp_path)


def test_who_must_ask_is_told_whom(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "fetch", "mjff-lr"]) == 1
    shown = capsys.readouterr().err
    assert "apply for syn20681023" in shown
    assert shown.count("\n") == 1
