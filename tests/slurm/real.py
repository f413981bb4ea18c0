"""SLURM as most clusters have it: munge, accounting with enforced associations, control groups, GPUs with a type.

Debian's munge, slurmdbd and mariadb-server beside what tests.slurm.cluster needs; still one machine, without systemd.
"""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.slurm.cluster import CONFIGURATION, MARK, SETTINGS, Cluster, end, run, succeeds, unavailable, wait_for

CGROUPS = Path("/sys/fs/cgroup")
MUNGE = Path("/run/munge")

#: What is other than on the simple cluster.
CHANGES = {
    "SlurmUser": "slurm",
    "AuthType": "auth/munge",
    "CredType": "cred/munge",
    "ProctrackType": "proctrack/cgroup",
    "TaskPlugin": "task/cgroup",
    "JobAcctGatherType": "jobacct_gather/cgroup",
    "JobAcctGatherFrequency": "task=5",
    "JobAcctGatherParams": None,
    "AccountingStorageType": "accounting_storage/slurmdbd",
    # An ended job is forgotten soon
    "MinJobAge": "15",
}
ADDED = """\
PrologFlags=Contain
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStorageEnforce=associations,limits,qos,safe
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
PriorityType=priority/multifactor
EnforcePartLimits=NO
MaxArraySize=0
"""
DATABASE = """\
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm_acct_db
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/log/slurmdbd.pid
"""
#: Of every fake GPU node /dev/null is a GPU, which jobs must not be denied.
CGROUP = f"{MARK}\nCgroupPlugin=cgroup/v1\nCgroupMountpoint={CGROUPS}\nConstrainRAMSpace=yes\nConstrainDevices=no\n"


def real_unavailable() -> str | None:
    """Why no cluster of this kind can be started here; None where one can."""
    if reason := unavailable():
        return reason
    missing = [name for name in ("munged", "slurmdbd", "mariadbd", "sacctmgr") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed; Debian: apt-get install munge slurmdbd mariadb-server"
    lacking = [name for name in ("freezer", "memory", "cpuset") if not _takes_groups(CGROUPS / name)]
    if lacking:
        return f"expected control groups of version 1 in {CGROUPS} to be made here, found no {', '.join(lacking)}"
    if not succeeds("unshare", "--uts", "true"):
        return "giving nodes host names of their own (unshare --uts) is not allowed here"
    return None


def _takes_groups(hierarchy: Path) -> bool:
    """Whether a control group can be made here, which a container may forbid even root."""
    trial = hierarchy / f"trial_{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


class RealCluster(Cluster):
    """slurmctld, two slurmd with host names of their own, slurmdbd on MariaDB, and munge."""

    kind = "real"
    gres = "gpu:a100"

    def start(self) -> None:
        self.folder.chmod(0o755)
        for name in ("db", "ctld", "log"):
            (self.folder / name).mkdir(parents=True)
        MUNGE.mkdir(exist_ok=True)
        for path, user in (("ctld", "slurm"), ("log", "slurm"), ("db", "mysql"), (MUNGE, "munge")):
            shutil.chown(self.folder / path, user, user)
        self.munge = subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"])
        self._start_database()
        super().start()

    def _start_database(self) -> None:
        data, connect = self.folder / "db", f"--socket={self.folder}/db/s"
        run("mariadb-install-db", "--user=mysql", f"--datadir={data}", "--skip-test-db")
        options = ["--bind-address=127.0.0.1", "--port=13306", "--innodb-buffer-pool-size=64M"]
        files = [f"--datadir={data}", connect, f"--pid-file={data}/pid", f"--log-error={data}/log"]
        self.database = subprocess.Popen(
            ["mariadbd", "--no-defaults", "--user=mysql", *files, *options, "--innodb-lock-wait-timeout=900"]
        )
        wait_for(lambda: succeeds("mariadb-admin", connect, "ping"), "MariaDB answers", 60)
        grant = "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1'"
        create = "CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'lab'"
        run("mariadb", connect, "-e", f"CREATE DATABASE slurm_acct_db; {create}; {grant}")
        settings = CONFIGURATION.parent / "slurmdbd.conf"
        CONFIGURATION.parent.mkdir(exist_ok=True)
        settings.write_text(DATABASE.format(folder=self.folder))
        settings.chmod(0o600)
        shutil.chown(settings, "slurm", "slurm")

    def configure(self) -> None:
        super().configure()
        (CONFIGURATION.parent / "cgroup.conf").write_text(CGROUP)
        self.start_accounting()
        run("sacctmgr", "-i", "add", "cluster", "lab")
        run("sacctmgr", "-i", "add", "account", "vision", "Description=v", "Organization=o")
        run("sacctmgr", "-i", "add", "qos", "tiny", "set", "MaxSubmitJobsPerUser=1")
        run("sacctmgr", "-i", "add", "user", "root", "account=vision", "qos=normal,tiny", "defaultqos=normal")

    def settings(self) -> str:
        lines = []
        for line in SETTINGS.splitlines():
            key = line.partition("=")[0]
            value = CHANGES.get(key, line.partition("=")[2])
            if value is not None:
                lines.append(f"{key}={value}" if key in CHANGES else line)
        text = "\n".join(lines) + "\n" + ADDED
        return text.replace("Gres=gpu:2", "Gres=gpu:a100:2 Feature=a100")

    def start_accounting(self) -> None:
        run("slurmdbd")
        wait_for(lambda: succeeds("sacctmgr", "-n", "show", "cluster"), "slurmdbd answers", 60)

    def stop_accounting(self) -> None:
        end(self.folder / "log" / "slurmdbd.pid", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        # A host name of its own, by which other nodes find it
        run("unshare", "--uts", "sh", "-c", f"hostname {node} && slurmd -N {node}")

    def stop(self) -> None:
        super().stop()
        self.stop_accounting()
        subprocess.run(["mariadb-admin", f"--socket={self.folder}/db/s", "shutdown"], check=False)
        for process in (self.database, self.munge):
            process.terminate()
            process.wait()
        for name in ("slurmdbd.conf", "cgroup.conf"):
            (CONFIGURATION.parent / name).unlink()
        for folder in CGROUPS.glob("*/slurm_*"):
            _remove_groups(folder)


def _remove_groups(folder: Path) -> None:
    """Remove a control group and those in it, as far as nothing runs in them."""
    for child in folder.iterdir():
        if child.is_dir():
            _remove_groups(child)
    with suppress(OSError):
        folder.rmdir()
