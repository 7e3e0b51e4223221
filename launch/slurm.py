"""What Slurm says of itself: partitions, nodes, jobs. Always asked, never remembered, never read from a pickle.

The plain one-line output is parsed, which every Slurm since 20.11 prints alike; `--json` is missing from many builds.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harnet.errors import HarnetError

WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
GOING = ("RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED")

ANSWER_SECONDS = 180
"""For which a command may be silent. Slurm's own give up earlier, unless a file system or the network hangs."""

_SILENCE = re.compile(
    "unable to contact|timed out|zero bytes were transmitted|communication connection failure|connection refused"
    "|configuration source|configuration file|authentication",
    re.IGNORECASE,
)
"""Words of Slurm's commands that no controller answered: it is away, or this machine is none of its cluster's."""

_YOURS = "yours: sacctmgr show assoc user=$USER format=account,partition,qos"
_REMEDIES = {
    "Invalid account": f"change `account` in the profile; {_YOURS}",
    "Invalid qos": f"change `qos` in the profile; {_YOURS}",
    "violates accounting/QOS policy": f"ask for less, or change `account` or `qos` in the profile; {_YOURS}",
    "time limit is invalid": "lower `minutes` in the profile; the limits: sinfo -o '%P %l'",
    "Invalid feature": "change `constraint` in the profile; the features: sinfo -o '%P %f'",
    "No partition specified": "name a `partition` in the profile; there are: sinfo -o %P",
    "node configuration is not available": "ask for fewer nodes, GPUs or `cpus_per_task`, or less `memory`; what there "
    "is: sinfo -o '%P %D %c %m %G'",
}
"""Words in which Slurm refuses a job (its src/common/slurm_errno.c), and what mends it."""


class ControllerSilent(HarnetError):
    """Slurm was asked and said nothing of the matter. The same may be answered later, or on another machine."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        super().__init__(
            f"`{shlex.join(command)}`: Slurm does not answer ({said}); try again in some minutes, and if that does not "
            "help, on a login node, after `module load slurm` if the site has that"
        )


def require() -> None:
    """Raise a HarnetError unless Slurm's commands are installed here."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise HarnetError(
            "sbatch and srun are not on the PATH: type this on a login node, after `module load slurm` if the site "
            "has that; without Slurm: torchrun --nproc-per-node N -m pretrain ..."
        )


def run_command(*command: str, script: str | None = None) -> str:
    """Standard output of one of Slurm's commands; a batch script may go to its standard input.

    Raises:
        NoAnswer: it did not reach Slurm's controller.
        HarnetError: it is not installed, or it failed otherwise; with its own words.
    """
    try:
        done = subprocess.run(
            command, input=script or "", capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
        )
    except FileNotFoundError:
        raise HarnetError(
            f"{command[0]} is not on the PATH: type this on a login node, after `module load slurm` if there is one"
        ) from None
    except subprocess.TimeoutExpired:
        raise ControllerSilent(command, f"nothing within {ANSWER_SECONDS} s") from None
    if done.returncode:
        raise failure(command, done.stderr)
    return done.stdout


def failure(command: Sequence[str], said: str) -> HarnetError:
    """What a command that failed has said, as the error that it is: the last of its lines, the cause comes last."""
    hint = f'Try "{command[0]} --help"'  # follows the cause, where an option is wrong
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(hint)]
    lines = lines or ["failed, and gave no reason"]
    words = re.sub(rf"^({re.escape(command[0])}: )?((error|fatal): )?", "", lines[-1])
    return ControllerSilent(command, words) if _SILENCE.search(words) else HarnetError(f"{command[0]}: {words}")


def remedy(said: str) -> str:
    """What to do about words in which Slurm has refused a job; empty for words that say it themselves."""
    return next((cure for words, cure in _REMEDIES.items() if words in said), "")


@dataclass(frozen=True)
class Job:
    """A job, or an element of an array, as Slurm describes it now."""

    facts: Mapping[str, str]
    """Names and values of `scontrol show job`; of `sacct`, where the controller has forgotten it already."""

    @property
    def state(self) -> str:
        """Such as RUNNING."""
        return self.facts.get("JobState", "UNKNOWN")

    @property
    def waiting(self) -> bool:
        """Whether it waits for nodes."""
        return self.state in WAITING

    @property
    def alive(self) -> bool:
        """Whether it waits for nodes or has them."""
        return self.waiting or self.state in GOING

    @property
    def restarts(self) -> int:
        """How often Slurm has started it again."""
        return int(self.facts.get("Restarts", "0"))

    @cached_property
    def comment(self) -> str:
        """What the job wrote of itself before it ended."""
        comment = self.facts.get("Comment", "")
        return "" if comment == "(null)" else comment

    @property
    def index(self) -> int | None:
        """Number within an array."""
        number = self.facts.get("ArrayTaskId", "")
        return int(number) if number.isdecimal() else None


def jobs(number: str) -> list[Job]:
    """The job of that number, or all elements of that array; none if Slurm knows no such job (any more)."""
    try:
        text = run_command("scontrol", "--oneliner", "show", "job", number)
    except HarnetError as error:
        if "Invalid job id" not in str(error):
            raise
        return _accounted(number)
    return [Job(parse(line)) for line in text.splitlines() if line.startswith("JobId=")]


def job(number: str) -> Job | None:
    """The job of that number; None if Slurm knows no such job (any more)."""
    return next(iter(jobs(number)), None)


def find_job(number: str) -> tuple[Job | None, str]:
    """The job if Slurm knows it, and what is wrong if Slurm does not answer: a controller may be restarting."""
    try:
        return job(number), ""
    except HarnetError as error:
        return None, f"{error}; jobs that run go on"


def parse(line: str) -> dict[str, str]:
    """Names and values of a line of `scontrol --oneliner`; a value may hold spaces, a name starts with a capital."""
    found = re.findall(r"(?:^|\s)([A-Z][\w/:]*)=(.*?)(?=\s[A-Z][\w/:]*=|$)", line.strip())
    return {name: value.strip() for name, value in found}


def _accounted(number: str) -> list[Job]:
    """From the accounting data base, which remembers longer; a cluster may have none."""
    names = ("JobID", "State", "ExitCode", "Comment")
    command = ("sacct", "--noheader", "--parsable2", "--allocations", f"--format={','.join(names)}", "--jobs", number)
    try:
        text = run_command(*command)
    except HarnetError:
        return []  # no accounting: what it would have said is unknown, as for a job that it has forgotten
    found = []
    for line in text.splitlines():
        values = dict(zip(names, line.split("|", len(names) - 1), strict=True))
        state = values["State"].split()[0] if values["State"] else "UNKNOWN"  # CANCELLED by 1000
        array = values["JobID"].partition("_")[2]
        found.append(
            Job({"JobState": state, "ExitCode": values["ExitCode"], "Comment": values["Comment"], "ArrayTaskId": array})
        )
    return found


def check_partition(name: str) -> None:
    """Raise a HarnetError unless there is a partition of that name; the default one is the empty name."""
    known = run_command("sinfo", "--noheader", "--format=%R").split()
    if name and name not in known:
        raise HarnetError(f"partition {name!r} is not on this cluster; one of: {', '.join(sorted(set(known)))}")


def only_here() -> bool:
    """Whether this machine is the cluster's only node, so that jobs see its own disks."""
    return set(run_command("sinfo", "--noheader", "--Node", "--format=%n").split()) == {
        socket.gethostname().partition(".")[0]
    }


def check_gpus(partition: str, nodes: int, gpus: int) -> None:
    """Raise a HarnetError unless the partition has that many nodes with that many GPUs each, busy or not."""
    where = ("--partition", partition) if partition else ()
    lines = run_command("sinfo", "--noheader", "--Node", "--format=%N|%G", *where).splitlines()
    found = {name: gpus_of(resources) for name, _, resources in (line.partition("|") for line in lines)}
    most = max(found.values(), default=0)
    if gpus > most:
        raise HarnetError(f"--gpus-per-node is {gpus}; the nodes of {partition or 'this cluster'} have {most} at most")
    fitting = sum(number >= gpus for number in found.values())
    if nodes > fitting:
        having = f" with {gpus} GPUs or more" if gpus else ""
        raise HarnetError(f"--nodes is {nodes}; {partition or 'this cluster'} has {fitting} nodes{having}")


def gpus_of(resources: str) -> int:
    """GPUs of a node from its generic resources, such as gpu:a100:4(S:0-1),nvme:1."""
    return sum(int(number) for number in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", resources))


def environment(*names: str) -> list[str]:
    """Variables that Slurm sets inside a job.

    Raises:
        HarnetError: one is missing, so this is no job.
    """
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise HarnetError(f"{', '.join(missing)} not set: this is started by a batch script, inside a job of Slurm")
    return [os.environ[name] for name in names]


def expand(nodes: str) -> Sequence[str]:
    """Names of the nodes in a list such as n[1-3]."""
    return run_command("scontrol", "show", "hostnames", nodes).split()
