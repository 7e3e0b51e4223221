"""Run the commands of docs/nhanes.md, taken from the page, on small archives in CDC's format."""

import gzip
import http.server
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.data_shards.test_readers_nhanes import LOGS, write

pd = pytest.importorskip("pandas", reason="needs pandas: pip install 'harnet[apply]'")

PAGE = (Path(__file__).parents[2] / "docs" / "nhanes.md").read_text()
STEPS = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RATE, MINUTES = 80, 6
"""Minutes of each hour in the small archives."""
COLUMNS = {"SEQN": (62161, 62163), "RIAGENDR": (1, 2), "RIDAGEYR": (22, 14), "WTMEC2YR": (104236, 16116)} | {
    "SDMVPSU": (1, 3), "SDMVSTRA": (91, 92)
}  # fmt: skip


def hour(start: np.datetime64, seed: int) -> bytes:
    """The beginning of an hour: a swinging arm, in CDC's columns and time stamps."""
    ticks = np.arange(RATE * 60 * MINUTES)
    swing = 0.3 * np.sin(2 * np.pi * 1.8 * ticks / RATE)
    noise = np.random.default_rng(seed).normal(0, 0.02, (3, len(ticks)))
    stamps = np.datetime_as_string(start + np.floor(ticks * 12.5 + 0.5).astype("timedelta64[ms]"))
    noise[0] += swing
    noise[2] += 1
    rows = zip(stamps.tolist(), *noise.round(3).tolist(), strict=True)
    lines = (f"{stamp.replace('T', ' ')},{x},{y},{z}\n" for stamp, x, y, z in rows)
    return gzip.compress(("HEADER_TIMESTAMP,X,Y,Z\n" + "".join(lines)).encode())


def archive(path: Path) -> None:
    """A person's archive: the first half hour, the following hour, and the list of flagged ranges."""
    members = {f"{path.name[:5]}/{path.name[:5]}_Logs.csv": LOGS.encode()}
    for clock in ("12:30:00", "13:00:00"):
        start = np.datetime64(f"2000-01-06T{clock}", "ms")
        stamp = f"2000-01-06-{clock.replace(':', '-')}-000-P0000"
        name = f"GT3XPLUS-AccelerationCalibrated-2x5x0.NEO1G22051089.{stamp}.sensor.csv.gz"
        members[f"{path.name[:5]}/{name}"] = hour(start, len(members))
    write(path, members, "w:bz2")


def transport_file(columns: dict[str, tuple[int, ...]]) -> bytes:
    """A SAS transport file, version 5 ("The Record Layout of a Data Set in SAS Transport Format", SAS TS-140)."""

    def record(text: str) -> bytes:
        return text.encode().ljust(80)

    def header(kind: str, numbers: str) -> bytes:
        return record(f"HEADER RECORD*******{kind:<8}HEADER RECORD!!!!!!!{numbers}")

    def number(value: int) -> bytes:
        digits = len(f"{value:x}")  # IBM floating point: value = 0.fraction x 16^exponent
        return bytes([64 + digits]) + (value << 4 * (14 - digits)).to_bytes(7, "big")

    stamp = "27NOV26:00:00:00"
    about = [
        struct.pack(">hhhh8s40s8shhh2s8shhl52x", 1, 0, 8, place + 1, name.ljust(8).encode(), b" " * 40,
                    b" " * 8, 0, 0, 0, b"", b" " * 8, 0, 0, 8 * place)
        for place, name in enumerate(columns)
    ]  # fmt: skip
    names, rows = (
        b"".join(about),
        b"".join(number(value) for row in zip(*columns.values(), strict=True) for value in row),
    )
    return b"".join([
        header("LIBRARY", "0" * 30), record(f"SAS     SAS     SASLIB  9.3     {'':32}{stamp}"), record(stamp),
        header("MEMBER", "000000000000000001600000000140"), header("DSCRPTR", "0" * 30),
        record(f"SAS     DEMO    SASDATA 9.3     {'':32}{stamp}"), record(stamp),
        header("NAMESTR", f"000000{len(columns):04d}{'0' * 20}"), names.ljust(-(-len(names) // 80) * 80),
        header("OBS", "0" * 30), rows.ljust(-(-len(rows) // 80) * 80),
    ])  # fmt: skip


@pytest.fixture
def archive_server(tmp_path: Path) -> Iterator[str]:
    """Serve two small archives in place of `https://ftp.cdc.gov`."""
    (tmp_path / "pub" / "pax_g").mkdir(parents=True)
    for seqn in COLUMNS["SEQN"]:
        archive(tmp_path / "pub" / "pax_g" / f"{seqn}.tar.bz2")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_guide_leads_from_archives_to_a_row_per_person(tmp_path: Path, archive_server: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "DEMO_G.xpt").write_bytes(transport_file(COLUMNS))
    # Archives of a few minutes never have 72 hours of wear, and one worker is enough for two of them.
    changes = {"https://ftp.cdc.gov": archive_server, "uk-biobank": "none", "$(nproc)": "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = []
    for language, code in STEPS:
        if "pip install" in code:
            continue
        for said, meant in changes.items():
            code = code.replace(said, meant)
        command = ["bash", "-euc", code] if language == "bash" else [sys.executable, "-c", code]
        ran = subprocess.run(
            command, cwd=work, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{code}\n{ran.stdout}{ran.stderr}"
        done.append(ran.stdout)
    assert [code.split()[1] for _, code in STEPS if code.startswith("harnet")] == [
        "ingest",
        "quality",
        "embed",
        "shard",
    ]
    assert done[-1].startswith("2 people, ")
    table = pd.read_parquet(work / "nhanes.parquet")
    assert table.index.tolist() == [62161, 62163]
    assert table["RIDAGEYR"].tolist() == [22, 14]
    assert table.filter(like="feature_").notna().all(axis=None)
    assert (table["wear_minutes"] - 2 * MINUTES).abs().max() < 0.5
    assert (work / "quality" / "index.html").exists()
    assert (work / "shards" / "manifest.parquet").exists()
