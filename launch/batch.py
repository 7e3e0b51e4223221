"""A batch script made from a site profile, written and submitted by submitit.

submitit is used to write an sbatch script from parameters, submit it and return the job id. Its other half, pickled
functions that requeue themselves, is not used: it decides from one process's pickle whether a job has ended, treats a
lost node as final although Slurm restarts the job, and checkpoints inside a signal handler. The job runs `launch.job`,
and its state is queried from Slurm.
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
    """A job or job array to be submitted."""

    def __init__(
        self, folder: Path, profile: Profile, name: str, command: Sequence[str], more: Mapping[str, str]
    ) -> None:
        """`folder` receives the script and logs; `more` are sbatch options that are not part of the profile."""
        self.folder = folder.resolve()
        for what, value in {"log folder": str(self.folder), "name": name, **more}.items():
            refuse_control(f"job: {what}", value)
        self._profile, self._command = profile, command
        self._parameters = self._sbatch_parameters(name, more)

    def _sbatch_parameters(self, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        profile = self._profile
        optional = {
            "partition": profile.partition,
            "account": profile.account,
            "qos": profile.qos,
            "constraint": profile.constraint,
            "cpus_per_task": profile.cpus_per_task,
            "mem": profile.memory,
        }
        # Slurm expands % in file names.
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
        # exec: the job's process replaces the shell and receives Slurm's SIGTERM directly
        text: str = self._executor()._make_submission_file_text(f"exec {shlex.join(self._command)}", "")
        return text

    def check(self) -> None:
        """Ask Slurm whether it would accept this script, without queueing it; HarnetError if not."""
        refuse_secrets(self._command)
        try:
            slurm.run_command("sbatch", "--test-only", script=self.script)
        except slurm.SlurmNotResponding:
            raise
        except HarnetError as error:
            raise _rejected(error) from None

    def submit(self) -> str:
        """Submit it; returns the job id, or that of the array.

        Raises:
            HarnetError: Slurm rejected it, or did not confirm it.
        """
        from submitit.core.utils import FailedJobError

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with redirect_stderr(io.StringIO()):  # submitit also prints the text of its exception
                job = self._executor()._submit_command(f"exec {shlex.join(self._command)}")
        except FailedJobError as failed:
            error = slurm.failure(("sbatch",), str(failed))
            if isinstance(error, slurm.SlurmNotResponding):
                # Two jobs writing to one folder would destroy a run.
                doubt = f"whether {self._parameters['job_name']} was queued nevertheless"
                raise HarnetError(f"{error}; first check with squeue --me {doubt}") from None
            raise _rejected(error) from None
        return str(job.job_id)


def _rejected(error: HarnetError) -> HarnetError:
    advice = slurm.remedy(str(error)) or "compare --profile and the options with sinfo"
    return HarnetError(f"Slurm rejects the job: {error}; {advice}")


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise a HarnetError for a password in any option, even one that is overridden: it would be in the script."""
    for each in filter(holds_secret, arguments):
        raise HarnetError(
            f"{redacted(each)}: a password or token in an option would be readable by others in the batch script and "
            "the process list; give the URL without it, and pass credentials by the AWS_... variables, ~/.netrc or a "
            "configuration file of fsspec: see docs/remote.md"
        )


def python(profile: Profile) -> str:
    """Python interpreter that runs jobs."""
    return profile.python or sys.executable


def module(name: str) -> list[str]:
    """Python options that run one of our modules, never a file of the same name in the job's working folder."""
    return ["-P", "-m", name]


def environment_of(profile: Profile) -> Path:
    """Folder of that interpreter, without resolving links, which would lead to the system's Python."""
    return Path(python(profile)).absolute().parent


def gpu_request(profile: Profile, count: int) -> str:
    """A number of GPUs in sbatch syntax, with the GPU type if the profile specifies one."""
    return f"{profile.gpu_type}:{count}" if profile.gpu_type else str(count)


def python_of_tasks(profile: Profile) -> list[str]:
    """Command that runs Python for training processes, inside the site's container if there is one."""
    if profile.container:
        return [*profile.container_command, profile.container, "python"]
    return [python(profile)]
