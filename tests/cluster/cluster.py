"""A real Slurm cluster of a few nodes on one machine, for tests: real munged, slurmctld and slurmd.

Each node has its own namespaces: process ids (killing its first process is like a power cut), network (its link can be
unplugged), host name and /etc/hosts (node names resolve without touching the machine's own file). Every process dies
with the test process, even if that is killed, so only a bridge can be left behind, which the next start replaces.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "setpriv", "ip")
NETWORK = "10.78.0"
BRIDGE = "harnettest0"
CONTROLLER = f"{NETWORK}.254"
GRACE_SECONDS = 10
"""Grace time of the partition `grace`."""
OWN = 4
"""Number of nodes in the partition `own`."""
PREFIX = "harnet-cluster-"
LOCK = Path(tempfile.gettempdir()) / "harnet-test-cluster.lock"

_CONFIGURATION = """\
ClusterName=harnettest
FirstJobId={first_job}
SlurmctldHost={host}({controller})
SlurmctldPort=26917
SlurmdPort=26918
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire: a job that is queued again waits this long and a second; 5 is the least that Slurm takes
AuthInfo=socket={folder}/run/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
MailProg=/bin/true
# more CPUs than the machine has, no cgroups, no binding
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
MpiDefault=none
# every interval that a test would wait for, turned down
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
# time for a checkpoint between TERM and KILL, on a busy machine too
KillWait=20
CompleteWait=0
MinJobAge=600
InactiveLimit=0
SlurmctldTimeout=10
# not less: a slurmd on a busy machine must not be taken for dead
SlurmdTimeout=10
MessageTimeout=10
ReturnToService=2
KillOnBadExit=1
UnkillableStepTimeout=10
NodeName=DEFAULT CPUs=2 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
{nodes}
# whole nodes: a fault of a node is a fault of one job
PartitionName=DEFAULT Nodes={shared} MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE
PartitionName=main Default=YES PriorityTier=10 PreemptMode=REQUEUE GraceTime=0
PartitionName=grace PriorityTier=10 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=high PriorityTier=50 PreemptMode=OFF
# of one job alone: whoever asks for 3 to 4 nodes gets 4 only if no other job has one of them
PartitionName=own Nodes={own}
"""

_NODE = """\
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up
hostname {name}
mount --bind {folder}/etc/hosts /etc/hosts
slurmd -D -N {name} &
wait
"""


def obstacle() -> str | None:
    """The reason why no cluster can be started on this machine; None if one can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        return f"needs Slurm ({', '.join(missing)} not found): apt-get install slurm-wlm munge bc iproute2"
    if os.geteuid() != 0:
        return "needs root: each node of the test cluster has namespaces of its own"
    trial = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        return "needs namespaces (unshare --net --pid --mount), which this machine does not allow"
    return None


def eventually(condition: Callable[[], object], seconds: float, what: str | Callable[[], str]) -> None:
    """Wait until a condition holds; on timeout fail and say what was awaited."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.3)


class Cluster:
    """Nodes n1, n2, … with 2 CPUs and 2 fake GPUs each; partitions main, grace and high, which preempts the other two.

    Four more nodes are the partition `own`. `small_disk` is a separate file system with room for five checkpoints.
    """

    def __init__(self, nodes: int = 8) -> None:
        self.names = [f"n{number}" for number in range(1, nodes + OWN + 1)]
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.conf = self.folder / "etc" / "slurm.conf"
        self.small_disk = self.folder / "small-disk"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock: IO[str] | None = None

    def __enter__(self) -> "Cluster":
        # One network per machine: a second test run on the same machine waits for the first.
        self._lock = LOCK.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        for stale in _mounted():
            subprocess.run(["umount", stale], check=True)
        self._write_configuration()
        self.small_disk.mkdir()  # mounted before the nodes start, so that they see it too
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(self.small_disk)], check=True)
        _ip("link", "del", BRIDGE, check=False)
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        self._run(
            "munged",
            ["munged", "--foreground", f"--socket={self.folder}/run/munge.socket", f"--key-file={munge}/key",
             f"--pid-file={self.folder}/run/munged.pid", f"--seed-file={munge}/seed"],
        )  # fmt: skip
        eventually((self.folder / "run" / "munge.socket").exists, 10, "munged's socket")
        self.start_controller()
        for name in self.names:
            self.start_node(name)
        self.wait_for_nodes()

    def _write_configuration(self) -> None:
        self.folder.chmod(0o755)
        for name in ("etc", "run", "log", "state", "munge", "dev", *(f"spool-{name}" for name in self.names)):
            (self.folder / name).mkdir()
        (self.folder / "munge").chmod(0o700)
        hosts = [f"{self.address(name)} {name}" for name in self.names]
        (self.folder / "etc" / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts]) + "\n")
        for number in range(2):
            os.mknod(self.folder / "dev" / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))
        (self.folder / "etc" / "gres.conf").write_text(f"Name=gpu File={self.folder}/dev/gpu[0-1]\n")
        nodes = [f"NodeName={name} NodeHostname={name} NodeAddr={self.address(name)}" for name in self.names]
        self.conf.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                host=os.uname().nodename.split(".")[0],
                controller=CONTROLLER,
                nodes="\n".join(nodes),
                grace=GRACE_SECONDS,
                shared=",".join(self.names[:-OWN]),
                own=",".join(self.names[-OWN:]),
                first_job=int(time.time()) % 30_000_000 + 1,
            )
        )

    def address(self, name: str) -> str:
        return f"{NETWORK}.{name.removeprefix('n')}"

    def _run(self, key: str, command: list[str]) -> None:
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/sbin"
        with (self.folder / "log" / f"{key}.out").open("ab") as log:
            self._processes[key] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip

    def start_controller(self) -> None:
        self._run("slurmctld", ["slurmctld", "-D", "-i"])
        eventually(lambda: "UP" in self.ask("scontrol", "ping", check=False), 20, "slurmctld answers")

    def stop_controller(self) -> None:
        self._kill("slurmctld")

    def start_node(self, name: str) -> None:
        script = _NODE.format(address=self.address(name), name=name, folder=self.folder)
        namespaces = [
            "--net", "--uts", "--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc", "--kill-child"
        ]  # fmt: skip
        self._run(name, ["unshare", *namespaces, "bash", "-c", script])
        process = self._processes[name]
        own = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own, 10, f"namespaces of {name}")
        _ip("link", "del", _link(name), check=False)
        _ip("link", "add", _link(name), "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        _ip("link", "set", _link(name), "master", BRIDGE, "up")

    def kill_node(self, name: str) -> None:
        """Kill slurmd, its step daemons and the tasks at once; the address no longer responds."""
        self._kill(name)

    def unplug(self, name: str) -> None:
        """Cut the node's network link; everything on the node keeps running."""
        _ip("link", "set", _link(name), "down")

    def plug_in(self, name: str) -> None:
        _ip("link", "set", _link(name), "up")

    def ask(self, *command: str, check: bool = True) -> str:
        """Return the standard output of a Slurm command."""
        done = subprocess.run(
            command, env={**os.environ, "SLURM_CONF": str(self.conf)}, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def idle(self, partition: str = "main") -> list[str]:
        wanted = ["-p", partition, "-t", "idle", "-o", "%N"]
        return sorted(set(self.ask("sinfo", "-h", "-N", *wanted, check=False).split()))

    def mend(self, name: str) -> None:
        """Start the node and plug it in again, whatever was done to it."""
        if self._processes[name].poll() is not None:
            self.start_node(name)
        self.plug_in(name)
        self.ask("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)

    def wait_for_nodes(self) -> None:
        """Start and plug in all nodes, and wait until half of them are idle.

        Not all: Slurm cleans up a job that ended without a controller only a minute later.
        """
        for name in self.names:
            self.mend(name)
        eventually(lambda: len(self.idle()) >= len(self.names[:-OWN]) // 2, 120, f"idle nodes; see {self.folder}/log")

    def cancel_all(self, under: Path | None = None) -> None:
        """Cancel all jobs, or only those that log into a folder."""
        lines = self.ask("squeue", "-h", "-O", "JobID:20,STDOUT:400", check=False).splitlines()
        jobs = [number for number, log in map(str.split, lines) if under is None or log.startswith(f"{under}/")]
        if jobs:
            self.ask("scancel", *jobs, check=False)

    def _kill(self, key: str) -> None:
        process = self._processes[key]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Kill everything; nodes first, so that no controller sees a failed job and requeues it."""
        for key in reversed(self._processes):
            self._kill(key)
        for name in self.names:
            _ip("link", "del", _link(name), check=False)
        _ip("link", "del", BRIDGE, check=False)
        subprocess.run(["umount", str(self.small_disk)], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _mounted() -> list[str]:
    """Small disks left mounted by clusters whose test process was killed."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{tempfile.gettempdir()}/{PREFIX}")]


def _link(name: str) -> str:
    return f"{BRIDGE[:-1]}-{name}"


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
