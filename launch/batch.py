"""A batch script from a site profile, written and submitted by submitit.

submitit is used for what it is good at: an sbatch script from parameters, its submission, the job's number. Its other
half, pickled functions that requeue themselves, is not used: it decides from a pickle of one process whether a job is
over, calls a lost node final though Slurm restarts the job, and runs its checkpoint in a signal handler. What runs in
the job is `launch.job`, and what became of it, Slurm is asked.
"""

import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from harnet.errors import HarnetError
from harnet.redaction import holds_secret, redacted
from launch import slurm
from launch.profile import Profile, refuse_control


class BatchJob:
    """A job, or an array of jobs, about to be submitted."""

    def __init__(
        self, folder: Path, profile: Profile, name: str, command: Sequence[str], more: Mapping[str, str]
    ) -> None:
        """`folder` gets the script and the logs; `more` are options of sbatch that no profile has."""
        self.folder = folder.resolve()
        for what, value in {"the folder of its logs": str(self.folder), "its name": name, **more}.items():
            refuse_control(f"job: {what}", value)
        self._profile, self._command = profile, command
        self._parameters = self._given(name, more)

    def _given(self, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        profile = self._profile
        optional = {
            "partition": profile.partition,
            "account": profile.account,
            "qos": profile.qos,
            "constraint": profile.constraint,
            "cpus_per_task": profile.cpus_per_task,
            "mem": profile.memory,
        }
        # Slurm puts its own values where it finds a per cent sign.
        logs = str(self.folder).replace("%", "%%")
        own = {"output": f"{logs}/{'%A_%a' if 'array' in more else '%j'}.log", "requeue": True}
        return {
            "job_name": name,
            "time": profile.minutes,
            "wckey": None,
            "signal_delay_s": profile.signal_seconds,
            "stderr_to_stdout": True,
            "use_srun": False,
            "setup": self._setup(),
            **{key: value for key, value in optional.items() if value},
            "additional_parameters": own | dict(more) | profile.sbatch,
        }

    def _setup(self) -> list[str]:
        profile = self._profile
        modules = [f"module load {shlex.quote(name)}" for name in profile.modules]
        variables = [f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()]
        return [*modules, *variables, *profile.setup]

    def _executor(self) -> Any:
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder=self.folder)
        executor.update_parameters(**self._parameters)
        return executor

    @property
    def script(self) -> str:
        """The batch script."""
        # exec: the job's process is Slurm's own child, and gets its TERM itself
        text: str = self._executor()._make_submission_file_text(f"exec {shlex.join(self._command)}", "")
        return text

    def check(self) -> None:
        """Let Slurm say, without queueing anything, whether it would take this script; a HarnetError if not."""
        refuse_secrets(self._command)
        try:
            slurm.run_command("sbatch", "--test-only", script=self.script)
        except slurm.ControllerSilent:
            raise
        except HarnetError as error:
            raise _refused(error) from None

    def submit(self) -> str:
        """Queue it; return the number of the job, or of the array.

        Raises:
            HarnetError: Slurm did not take it, or did not say so.
        """
        from submitit.core.utils import FailedJobError

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with redirect_stderr(io.StringIO()):  # submitit prints there what its exception says as well
                job = self._executor()._submit_command(f"exec {shlex.join(self._command)}")
        except FailedJobError as failed:
            error = slurm.failure(("sbatch",), str(failed))
            if isinstance(error, slurm.ControllerSilent):
                # Two jobs in one folder would destroy a run.
                doubt = f"whether {self._parameters['job_name']} is queued all the same"
                raise HarnetError(f"{error}; look first, by squeue --me, {doubt}") from None
            raise _refused(error) from None
        return str(job.job_id)


def _refused(error: HarnetError) -> HarnetError:
    cure = slurm.remedy(str(error)) or "compare --profile and the options with sinfo"
    return HarnetError(f"Slurm refuses the job: {error}; {cure}")


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise a HarnetError for a password in an option, even in one that a later one overrides: the script has it."""
    for each in filter(holds_secret, arguments):
        raise HarnetError(
            f"{redacted(each)}: a password or token in an option would stand in the batch script and in the list "
            "of processes, for others to read; give the URL without it, and credentials by the AWS_... variables, "
            "~/.netrc or a configuration file of fsspec: docs/remote.md shows how"
        )


def python(profile: Profile) -> str:
    """The interpreter that runs jobs."""
    return profile.python or sys.executable


def module(name: str) -> list[str]:
    """Options of Python that run a module of ours, and no file of that name in the folder where a job begins."""
    return ["-P", "-m", name]


def environment_of(profile: Profile) -> Path:
    """The folder of that interpreter. Not where its link leads: to the system's Python, which every node has."""
    return Path(python(profile)).absolute().parent


def gpus_asked_for(profile: Profile, count: int) -> str:
    """A number of GPUs as sbatch takes it, of the site's kind if it names one."""
    return f"{profile.gpu_type}:{count}" if profile.gpu_type else str(count)


def python_of_tasks(profile: Profile) -> list[str]:
    """The command that is Python for training processes: in the site's container, if it has one."""
    if profile.container:
        return [*profile.container_command, profile.container, "python"]
    return [python(profile)]
