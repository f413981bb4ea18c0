"""A real SLURM of two nodes on this machine: slurmctld and two slurmd on the loopback interface, with pretended GPUs.

Debian's packages slurmctld, slurmd and slurm-client are all it needs: no systemd, no munge, no database.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from gumbel.cluster import limits

#: The jobs' commands look here: the executor removes SLURM_CONF from their environment.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
MARK = "# Written by tests/slurm"
NODES = ("gpu01", "gpu02")
#: By these names the processes of a training on several nodes find each other.
HOSTS = Path("/etc/hosts")
HOSTS_LINE = f"127.0.0.1 {' '.join(NODES)}  {MARK}\n"
#: How many times as long as on two idle cores everything may take.
PATIENCE = float(os.environ.get("SLURM_TEST_PATIENCE", "1"))
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")

SETTINGS = """\
{mark}
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
# How long a requeued job waits before it starts again
AuthInfo=cred_expire=5
SlurmctldPort=16817
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/d/%n
SlurmctldPidFile={folder}/log/slurmctld.pid
SlurmdPidFile={folder}/log/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Memory limits without control groups: SLURM adds up what a step's processes use, and kills it
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=300
KillWait=20
SlurmdTimeout=10
MessageTimeout=5
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=gpu01 NodeHostname=localhost NodeAddr=127.0.0.1 Port=16821 CPUs=16 RealMemory=200000 Gres=gpu:2 State=UNKNOWN
NodeName=gpu02 NodeHostname=localhost NodeAddr=127.0.0.1 Port=16822 CPUs=16 RealMemory=200000 Gres=gpu:2 State=UNKNOWN
PartitionName=both Nodes=gpu[01-02] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=gpu[01-02] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes=gpu[01-02] MaxTime=120 State=UP PriorityTier=0 PreemptMode=CANCEL
PartitionName=short Nodes=gpu[01-02] MaxTime=60 State=UP PriorityTier=1
"""


def unavailable() -> str | None:
    """Why no cluster can be started here; None where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)}); Debian: apt-get install slurmctld slurmd slurm-client"
    if os.geteuid() != 0:
        return "starting slurmd needs root"
    if CONFIGURATION.exists() and MARK not in CONFIGURATION.read_text():
        return f"{CONFIGURATION} belongs to a cluster that is no test"
    return None


class Cluster:
    """One slurmctld and two slurmd.

    Args:
        folder: an empty folder for state, logs and device files.
    """

    kind = "simple"
    #: What SLURM calls a GPU.
    gres = "gpu"

    def __init__(self, folder: Path):
        self.folder = folder

    def start(self) -> None:
        """Start everything and wait until both nodes are idle."""
        for name in ("ctld", "log", *(f"d/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(2):
            # SLURM counts character devices as GPUs; these are /dev/null
            os.mknod(self.folder / f"gpu{index}", 0o666 | 0o020000, os.makedev(1, 3))
        if HOSTS_LINE not in HOSTS.read_text():
            with HOSTS.open("a") as file:
                file.write(HOSTS_LINE)
        self.configure()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        wait_for(lambda: self.node_states() == dict.fromkeys(NODES, "idle"), "both nodes are idle", 30)

    def configure(self) -> None:
        """Write the files that the daemons and commands read."""
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(self.settings().format(mark=MARK, folder=self.folder))
        kind = self.gres.replace("gpu:", "gpu Type=")
        gres = f"{MARK}\nAutoDetect=off\nNodeName=gpu[01-02] Name={kind} File={self.folder}/gpu[0-1]\n"
        (CONFIGURATION.parent / "gres.conf").write_text(gres)

    def settings(self) -> str:
        """slurm.conf, with the names of mark and folder in braces."""
        return SETTINGS

    def end_jobs(self) -> None:
        """Kill what runs or waits, without the grace that scancel gives."""
        for job in self.jobs():
            subprocess.run(["scancel", "--full", "--signal=KILL", job], capture_output=True, check=False)
            subprocess.run(["scancel", job], capture_output=True, check=False)
        wait_for(lambda: not self.jobs(), "no job is left", 60)

    def repair(self) -> None:
        """Bring controller and nodes back after a fault."""
        if not _alive(self.folder / "log" / "slurmctld.pid"):
            self.start_controller()
        for node in NODES:
            if not _alive(self.folder / "log" / f"slurmd-{node}.pid"):
                self.start_node(node)
        wait_for(lambda: succeeds("scontrol", "ping"), "slurmctld answers", 30)
        for node, state in self.node_states().items():
            if state.rstrip("*") not in ("idle", "mix", "alloc", "comp"):
                run("scontrol", "update", f"nodename={node}", "state=resume")
        wait_for(lambda: self.node_states() == dict.fromkeys(NODES, "idle"), "both nodes are idle", 60)

    def stop(self) -> None:
        """End all jobs and daemons and remove the configuration."""
        self.repair()
        self.end_jobs()
        self.stop_controller()
        for node in NODES:
            self.stop_node(node, signal.SIGTERM)
        HOSTS.write_text(HOSTS.read_text().replace(HOSTS_LINE, ""))
        CONFIGURATION.unlink()
        (CONFIGURATION.parent / "gres.conf").unlink()

    def start_controller(self) -> None:
        run("slurmctld")

    def stop_controller(self) -> None:
        end(self.folder / "log" / "slurmctld.pid", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        run("slurmd", "-N", node)

    def stop_node(self, node: str, sign: signal.Signals) -> None:
        """End the node's slurmd; its running steps live on."""
        end(self.folder / "log" / f"slurmd-{node}.pid", sign)

    def node_states(self) -> dict[str, str]:
        lines = run("sinfo", "--noheader", "--Node", "--partition=both", "--format=%N %t").splitlines()
        return dict(line.split() for line in lines)

    def jobs(self, states: str = "all") -> dict[str, dict[str, str]]:
        """Jobs in ``states``, by default those that are not over: state, comment and node of each id."""
        wanted = "PENDING,RUNNING,COMPLETING,SUSPENDED,CONFIGURING,REQUEUED" if states == "all" else states
        form = "%i|%T|%k|%N"
        lines = run("squeue", "--noheader", f"--states={wanted}", f"--format={form}").splitlines()
        rows = (line.split("|") for line in lines)
        return {row[0]: dict(zip(("state", "comment", "node"), row[1:], strict=True)) for row in rows}

    def describe(self, job: str) -> dict[str, str]:
        """What scontrol says of a job."""
        pairs = run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def set_time_limit(self, job: str, minutes_from_now: int) -> None:
        """Let a job end so many minutes from now, or less than one later: limits are whole minutes from its start."""
        limit = limits.minutes(self.describe(job)["RunTime"]) + 1 + minutes_from_now
        run("scontrol", "update", f"jobid={job}", f"timelimit={limit}")

    def job(self, rule: str, state: str = "RUNNING", seconds: float = 60) -> str:
        """Id of the one job of ``rule`` that is in ``state``, once there is one."""

        def find() -> list[str]:
            return [key for key, job in self.jobs(state).items() if job["comment"].startswith(f"rule_{rule}")]

        wait_for(lambda: find(), f"a job of rule {rule} is {state}", seconds)
        return find()[0]


def run(*command: str) -> str:
    """Standard output of a command that succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"expected {' '.join(command)} to succeed, found: {done.stderr or done.stdout}")
    return done.stdout


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def wait_for(condition: Callable[[], object], what: str, seconds: float, interval: float = 0.2) -> None:
    """Return as soon as ``condition()`` is true.

    Raises:
        TimeoutError: it was not within ``seconds``.
    """
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected within {seconds:.0f} s: {what}")
        time.sleep(interval)


def _alive(pid_file: Path) -> bool:
    return pid_file.exists() and Path(f"/proc/{pid_file.read_text().strip()}").exists()


def end(pid_file: Path, sign: signal.Signals) -> None:
    """Send ``sign`` to the process of ``pid_file`` and wait until it is gone."""
    if not pid_file.exists():
        return
    process = int(pid_file.read_text())
    try:
        os.kill(process, sign)
    except ProcessLookupError:
        return
    wait_for(lambda: not Path(f"/proc/{process}").exists(), f"process {process} ends", 30)
