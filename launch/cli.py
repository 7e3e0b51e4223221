"""The `harnet` program: one name, one sub-command a file in `launch/commands/`."""

import importlib
import inspect
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn, Protocol

from harnet.errors import HarnetError

COMMANDS: dict[str, str] = {
    "ingest": "device files -> 30 Hz cohort store (Zarr)",
    "shard": "cohort store -> WebDataset shards and a manifest",
    "verify": "re-check every byte of a shard folder against its manifest",
    "pretrain": "self-supervised training of an encoder on shards",
    "export": "a training run -> a folder of weights to publish",
    "finetune": "train and test a classifier on your labelled windows, people held out",
}
"""Name of each sub-command, whose module is `launch.commands.<name>`, and its line in the help."""

USER_MISTAKE = 1
USAGE = 2
INTERRUPTED = 130


class Command(Protocol):
    """What a module in `launch/commands/` defines under the name `Command`: a dataclass of options that runs."""

    def run(self) -> int:
        """Do the work; return the exit code, 0 only if all of it was done."""


def usage() -> str:
    """The text of `harnet --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: harnet COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "harnet COMMAND --help shows a command's options with an example.",
            "",
            "Example: harnet ingest recordings/*.cwa --out cohort.zarr",
        ]
    )


def parse(name: str, arguments: Sequence[str]) -> Command:
    """The command `name` with its options read from `arguments`; exits with code 2 on a wrong option."""
    import tyro

    kind = importlib.import_module(f"launch.commands.{name}").Command
    arguments = kind.arguments(arguments) if hasattr(kind, "arguments") else arguments
    command: Command = tyro.cli(
        kind,
        prog=f"harnet {name}",
        description=inspect.getdoc(kind),
        args=list(arguments),
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; a user's mistake is one line on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else USAGE
    name = arguments[0]
    if name not in COMMANDS:
        print(f"harnet: no command {name!r}; one of: {', '.join(COMMANDS)}", file=sys.stderr)
        return USAGE
    try:
        return parse(name, arguments[1:]).run()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("harnet", "data_shards", "pretrain", "launch"):
            raise
        print(f"harnet {name}: needs the package {error.name!r}: pip install 'harnet[{extra_of(name)}]'", file=sys.stderr)
    except HarnetError as error:
        print(f"harnet {name}: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"harnet {name}: {where}{error.strerror or error}; finished work is kept, run the same command again "
              "once this is mended", file=sys.stderr)  # fmt: skip
    except KeyboardInterrupt:
        print(f"harnet {name}: interrupted; finished work is kept, the same command continues", file=sys.stderr)
        return INTERRUPTED
    return USER_MISTAKE


def extra_of(name: str) -> str:
    """The optional part of the distribution that holds what a command needs."""
    return {"ingest": "ingest", "shard": "shards", "verify": "shards", "finetune": "transfer"}.get(name, "pretrain")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def entry_point() -> NoReturn:
    """The console script. TERM, which a scheduler sends, ends a command as cleanly as ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    code = main()
    sys.stdout.flush()
    sys.exit(code)
