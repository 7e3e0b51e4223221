"""Fuzz a reader with atheris (libFuzzer), which mutates valid files to reach code that no input has covered yet.

    python -m tests.fuzz axivity --minutes 10
    python -m tests.fuzz all --minutes 10 --jobs 4

A fault is any exception except a one-line HarnetError, a read of more than 30 s, or more than 1 GB of memory. The input
that caused it is saved in fuzz-out/READER; `python -m tests.fuzz READER fuzz-out/READER/crash-...` reads it again.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS_PER_READ = 30
MEGABYTES = 1024
LONGEST_INPUT = 1 << 16
MINUTES_PER_PROCESS = 0.5
"""Atheris keeps the results of array comparisons, some 12 kB per input: a process must end before they reach 1 GB."""
RAM_DISK = Path("/dev/shm")


def fuzz(reader: str, options: list[str]) -> None:
    """Never returns: libFuzzer exits the process."""
    import atheris

    with atheris.instrument_imports(include=["data_shards.readers"]):
        from tests.fuzz.targets import TARGETS, try_to_read
    target = TARGETS[reader]
    folder = Path(tempfile.mkdtemp(prefix="harnet-fuzz-", dir=RAM_DISK if RAM_DISK.is_dir() else None))

    def one(data: bytes) -> None:
        # The first byte determines whether the rest gets correct checksums.
        content = target.seal(data[1:]) if data[:1] >= b"\x80" else data[1:]
        try_to_read(target, content, folder)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def run(reader: str, minutes: float, out: Path) -> int:
    """Fuzz one reader in its own process and return the exit code. libFuzzer's log is saved beside the faults."""
    from tests.fuzz.targets import TARGETS

    corpus = out / reader / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[reader].seeds()):
        for flag in (b"\x00", b"\xff"):
            (corpus / f"seed-{number}-{flag.hex()}").write_bytes(flag + seed)
    processes = max(1, round(minutes / MINUTES_PER_PROCESS))
    options = [
        f"-max_total_time={round(60 * minutes / processes)}",
        f"-timeout={SECONDS_PER_READ}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={out / reader}/",
        "-print_final_stats=1",
        str(corpus),
    ]
    log = out / reader / "log.txt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(RAM_DISK)}
    with log.open("wb") as file:
        command = [sys.executable, "-m", "tests.fuzz", reader, "--inside", *options]
        code, done, processor = 0, 0, 0.0
        while done < processes and code == 0:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
            _, status, used = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
            processor += used.ru_utime + used.ru_stime
            done += 1
    inputs, peak = sum(_statistic("number_of_executed_units", log)), max(_statistic("peak_rss_mb", log), default=0)
    outcome = "no fault" if code == 0 else f"FAULT in process {done} of {processes}, see {log}"
    print(
        f"{reader}: {outcome}; {inputs} inputs in {minutes:g} min ({processor / 60:.1f} min of processor), "
        f"peak memory {peak} MB",
        flush=True,
    )
    return code


def _statistic(name: str, log: Path) -> list[int]:
    """The values of a statistic that each process printed on exit."""
    return [
        int(value) for value in re.findall(rf"^stat::{name}: +(\d+)$", log.read_text(errors="replace"), re.MULTILINE)
    ]


def main() -> int:
    """Run the command line; returns the exit code."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=[*TARGETS, "all"])
    parser.add_argument("inputs", nargs="*", type=Path, help="files to read again, showing the result")
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes per reader")
    parser.add_argument("--jobs", type=int, default=1, help="number of readers to fuzz in parallel")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"))
    arguments = parser.parse_args()
    if arguments.inputs:
        fuzz(arguments.reader, [str(path) for path in arguments.inputs])
    readers = list(TARGETS) if arguments.reader == "all" else [arguments.reader]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = list(pool.map(lambda reader: run(reader, arguments.minutes, arguments.out), readers))
    return int(any(codes))


if __name__ == "__main__":
    if sys.argv[2:3] == ["--inside"]:
        fuzz(sys.argv[1], sys.argv[3:])
    sys.exit(main())
