"""Querying Slurm about partitions, nodes and jobs. Nothing is cached or pickled.

Parses the plain one-line output, which is the same in every Slurm since 20.11; many builds lack `--json`.
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
"""Timeout of a Slurm command. Slurm's own timeouts are shorter, unless a file system or the network hangs."""

_SILENCE = re.compile(
    "unable to contact|timed out|zero bytes were transmitted|communication connection failure|connection refused"
    "|configuration source|configuration file|authentication",
    re.IGNORECASE,
)
"""Messages of Slurm's commands when no controller responds: it is down, or this machine is not part of a cluster."""

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
"""Messages with which Slurm rejects a job (its src/common/slurm_errno.c) -> what to do."""


class SlurmNotResponding(HarnetError):
    """Slurm did not respond. The same command may succeed later, or on another machine."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        super().__init__(
            f"`{shlex.join(command)}`: Slurm does not respond ({said}); try again in a few minutes, or on a login "
            "node, after `module load slurm` if the site has that module"
        )


def require() -> None:
    """Raise a HarnetError unless Slurm's commands are installed here."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise HarnetError(
            "sbatch and srun are not on the PATH: run this on a login node, after `module load slurm` if the site "
            "has that module; without Slurm: torchrun --nproc-per-node N -m pretrain ..."
        )


def run_command(*command: str, script: str | None = None) -> str:
    """Standard output of a Slurm command; `script` is passed on its standard input.

    Raises:
        SlurmNotResponding: Slurm's controller did not respond.
        HarnetError: the command is not installed or failed; contains its error message.
    """
    try:
        done = subprocess.run(
            command, input=script or "", capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
        )
    except FileNotFoundError:
        raise HarnetError(
            f"{command[0]} is not on the PATH: run this on a login node, after `module load slurm` if the site has it"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmNotResponding(command, f"nothing within {ANSWER_SECONDS} s") from None
    if done.returncode:
        raise failure(command, done.stderr)
    return done.stdout


def failure(command: Sequence[str], said: str) -> HarnetError:
    """The error for a failed command and its stderr: the last line, which states the cause."""
    hint = f'Try "{command[0]} --help"'  # follows the cause if an option is invalid
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(hint)]
    lines = lines or ["failed without a message"]
    words = re.sub(rf"^({re.escape(command[0])}: )?((error|fatal): )?", "", lines[-1])
    return SlurmNotResponding(command, words) if _SILENCE.search(words) else HarnetError(f"{command[0]}: {words}")


def remedy(said: str) -> str:
    """Advice for a message with which Slurm rejected a job; empty if there is none."""
    return next((cure for words, cure in _REMEDIES.items() if words in said), "")


@dataclass(frozen=True)
class Job:
    """Current state of a job, or of a job-array task, according to Slurm."""

    facts: Mapping[str, str]
    """Fields of `scontrol show job`, or of `sacct` if the controller no longer knows the job."""

    @property
    def state(self) -> str:
        """Slurm's state, such as RUNNING."""
        return self.facts.get("JobState", "UNKNOWN")

    @property
    def waiting(self) -> bool:
        """Whether it is pending."""
        return self.state in WAITING

    @property
    def alive(self) -> bool:
        """Whether it is pending or running."""
        return self.waiting or self.state in GOING

    @property
    def restarts(self) -> int:
        """How often Slurm has restarted it."""
        return int(self.facts.get("Restarts", "0"))

    @cached_property
    def comment(self) -> str:
        """The job's comment, where `launch.job` writes why it failed."""
        comment = self.facts.get("Comment", "")
        return "" if comment == "(null)" else comment

    @property
    def index(self) -> int | None:
        """Task number within a job array, or None."""
        number = self.facts.get("ArrayTaskId", "")
        return int(number) if number.isdecimal() else None


def jobs(number: str) -> list[Job]:
    """The job with that id, or all tasks of that array; empty if Slurm does not know it (any more)."""
    try:
        text = run_command("scontrol", "--oneliner", "show", "job", number)
    except HarnetError as error:
        if "Invalid job id" not in str(error):
            raise
        return _accounted(number)
    return [Job(parse(line)) for line in text.splitlines() if line.startswith("JobId=")]


def job(number: str) -> Job | None:
    """The job with that id; None if Slurm does not know it (any more)."""
    return next(iter(jobs(number)), None)


def find_job(number: str) -> tuple[Job | None, str]:
    """The job if Slurm knows it, and an error message if Slurm does not respond, as when its controller restarts."""
    try:
        return job(number), ""
    except HarnetError as error:
        return None, f"{error}; running jobs continue"


def parse(line: str) -> dict[str, str]:
    """Fields of a line of `scontrol --oneliner`; values may contain spaces, names start with a capital letter."""
    found = re.findall(r"(?:^|\s)([A-Z][\w/:]*)=(.*?)(?=\s[A-Z][\w/:]*=|$)", line.strip())
    return {name: value.strip() for name, value in found}


def _accounted(number: str) -> list[Job]:
    """The job from the accounting database, which keeps jobs longer; a cluster may have none."""
    names = ("JobID", "State", "ExitCode", "Comment")
    command = ("sacct", "--noheader", "--parsable2", "--allocations", f"--format={','.join(names)}", "--jobs", number)
    try:
        text = run_command(*command)
    except HarnetError:
        return []  # no accounting: treated like a job that it no longer knows
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
    """Raise a HarnetError unless the partition exists; an empty name means the default."""
    known = run_command("sinfo", "--noheader", "--format=%R").split()
    if name and name not in known:
        raise HarnetError(f"partition {name!r} is not on this cluster; one of: {', '.join(sorted(set(known)))}")


def is_single_node() -> bool:
    """Whether this machine is the cluster's only node, so that jobs can see its local disks."""
    return set(run_command("sinfo", "--noheader", "--Node", "--format=%n").split()) == {
        socket.gethostname().partition(".")[0]
    }


def check_gpus(partition: str, nodes: int, gpus: int) -> None:
    """Raise a HarnetError unless the partition has at least `nodes` nodes with `gpus` GPUs each, busy or idle."""
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
    """Number of GPUs in a node's generic resources (GRES), such as gpu:a100:4(S:0-1),nvme:1."""
    return sum(int(number) for number in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", resources))


def environment(*names: str) -> list[str]:
    """Values of environment variables that Slurm sets inside a job.

    Raises:
        HarnetError: one is not set, so this process does not run in a job.
    """
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise HarnetError(f"{', '.join(missing)} not set: this must be started by a batch script inside a Slurm job")
    return [os.environ[name] for name in names]


def expand(nodes: str) -> Sequence[str]:
    """Host names in a node list such as n[1-3]."""
    return run_command("scontrol", "show", "hostnames", nodes).split()
