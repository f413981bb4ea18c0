"""A checkout of its own in which ``snakemake --profile slurm`` runs, and what a fault is done to."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml

from gumbel.experiment.matrix import Cell
from gumbel.paths import CellPaths, ExperimentPaths
from tests.detection.conftest import TINY
from tests.slurm.cluster import PATIENCE, Cluster, wait_for
from tests.workflow.checkout import environment, new_checkout

EXPERIMENT = {
    **TINY,
    "architectures": ["mask_rcnn_r50"],
    "activations": ["sigmoid", "gumbel"],
    "released_scoring": [],
    "schedule": "test_slurm",
    "warm_start": {"split": "warm_start", "schedule": "test_slurm"},
}
ITERATIONS = 40
#: In SLURM's queue at the same time.
JOBS = 2
#: The cell that faults happen to.
CELL = Cell("mask_rcnn_r50", "gumbel", 0)
#: Where the rows of the fault table are noted, for tests.slurm.table.
NOTES = Path(os.environ.get("FAULT_NOTES", os.devnull))


def checkout(folder: Path) -> Path:
    """A copy of the project with an experiment of seconds and a profile of little patience."""
    new_checkout(folder, EXPERIMENT["schedule"], ITERATIONS, checkpoint_interval=5)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    profile = folder / "workflow" / "profiles" / "slurm" / "config.yaml"
    text = profile.read_text()
    # The nodes' GPUs are pretended: what the doctor looks at is the rest
    changes = {"status-checks": 1, "latency-wait": 10, "  jobs": JOBS, "    checks": "--skip gpu"}
    for key, value in changes.items():
        text, found = re.subn(rf"{key}: (\d+|--skip)", f"{key}: {value}", text)
        assert found == 1, key
    profile.write_text(text)
    return folder


class Workspace:
    """A checkout with data, configurations and starting weights, or none yet."""

    def __init__(self, folder: Path, cluster: Cluster):
        self.folder = folder
        self.cluster = cluster
        self.output = ""
        self.experiment = "tiny"
        self.most_jobs = 0
        self.started: list[subprocess.Popen[str]] = []

    def copy(self, folder: Path, cluster: Cluster) -> "Workspace":
        """The same files, times and Snakemake's memory of them elsewhere."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder, cluster)

    @property
    def cell(self) -> CellPaths:
        return self.cell_of(CELL.activation)

    def cell_of(self, activation: str) -> CellPaths:
        names = ExperimentPaths(self.experiment).cell(CELL.architecture, activation, CELL.seed)
        return CellPaths(self.folder / names.root)

    @property
    def target(self) -> str:
        """The trained weights of the cell, as Snakemake calls them."""
        return str(self.cell.checkpoint.relative_to(self.folder))

    def forget_cell(self, activation: str = CELL.activation) -> None:
        """Remove all that was made of the cell but its configuration, and the page: with it, Snakemake is content."""
        cell = self.cell_of(activation)
        shutil.rmtree(self.folder / "reports" / self.experiment, ignore_errors=True)
        for page in ("reports/summary.html", ExperimentPaths(self.experiment).summary):
            (self.folder / page).unlink(missing_ok=True)
        for path in cell.root.iterdir():
            if path != cell.config:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def edit_profile(self, rule: str, key: str, value: str) -> None:
        """Give a rule, and those beside it, another resource than the profile does."""
        path = self.folder / "workflow" / "profiles" / "slurm" / "config.yaml"
        pattern = rf"(?ms)^(  \S[^\n]*\b{rule}\b[^\n]*:\n.*?^ +{key}:) [^\n]*$"
        text, found = re.subn(pattern, rf"\g<1> {value}", path.read_text(), count=1)
        assert found == 1, f"{rule} has no {key} in the profile"
        path.write_text(text)

    def set_cluster(self, **settings: object) -> None:
        """What the profile's first lines say of the cluster."""
        path = self.folder / "workflow" / "profiles" / "slurm" / "config.yaml"
        text = path.read_text()
        for key, value in settings.items():
            text, found = re.subn(rf"^  {key}: \S+", f"  {key}: {json.dumps(value)}", text, flags=re.MULTILINE)
            assert found == 1, key
        path.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "snakemake",
            "--profile",
            "slurm",
            *arguments,
            "--configfile",
            f"{self.experiment}.yaml",
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Snakemake in the background; :meth:`finish` waits for it."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that starts tests in the background has its children ignore SIGINT
            preexec_fn=_heed_interrupts,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], seconds: float = 300, status: int = 0) -> str:
        """What Snakemake printed, once it ended with ``status``."""
        try:
            output, _ = process.communicate(timeout=seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise TimeoutError(f"expected Snakemake to end within {seconds:.0f} s, found:\n{output[-4000:]}") from None
        assert process.returncode == status, output[-6000:]
        return output

    def run(self, *arguments: str, seconds: float = 300, status: int = 0) -> str:
        return self.finish(self.start(*arguments), seconds, status)

    def unlock(self) -> None:
        """What the message of a locked folder says to do."""
        self.run("--unlock", seconds=60)

    def trainings(self) -> list[psutil.Process]:
        """Processes that train in this checkout, those that Snakemake or SLURM left behind included."""
        found = []
        for process in psutil.process_iter():
            try:
                arguments = process.cmdline()
                if arguments[1:4] == ["-m", "gumbel", "train"] and Path(process.cwd()) == self.folder:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def pause_training(self, seconds: float = 120) -> psutil.Process:
        """Stop the training after its first checkpoint, so that it cannot end before the fault comes."""
        wait_for(lambda: self.checkpoints() and self.trainings(), "a training has saved itself", seconds, interval=0.02)
        (process,) = self.trainings()
        suspend(process)
        return process

    def resume_when_told(self, training: psutil.Process, sign: signal.Signals, seconds: float = 150) -> None:
        """Let a paused training go on once ``sign`` waits for it, or it has gone on (SLURM may send SIGCONT too)."""

        def told() -> bool:
            try:
                status = Path(f"/proc/{training.pid}/status").read_text()
            except FileNotFoundError:
                return True
            waiting = int(re.search(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)[1], 16)
            return bool(waiting & 1 << sign - 1) or "State:\tT" not in status

        wait_for(told, f"{sign.name} reaches the training", seconds)
        with contextlib.suppress(psutil.NoSuchProcess):
            training.resume()

    def checkpoints(self) -> list[Path]:
        return sorted(self.cell.work_dir.glob("*/iter_*.pth"), key=lambda path: int(path.stem.removeprefix("iter_")))

    def attempts(self) -> list[dict[str, Any]]:
        """What the training's manifest says of each process that worked on it."""
        return json.loads(self.cell.manifest.read_text())["attempts"]

    def story(self) -> str:
        """The attempts in words: how many, from where the later ones went on, and what was computed twice."""
        attempts = self.attempts()
        if len(attempts) == 1:
            return "one attempt"
        later = ", ".join(str(attempt["first"]) for attempt in attempts[1:])
        story = f"{len(attempts)} attempts, going on from iteration {later}"
        if any(attempt["ended"] is None for attempt in attempts):
            return story  # how far one that was killed came, nobody wrote down
        twice = sum(before["last"] - after["first"] for before, after in itertools.pairwise(attempts))
        return f"{story}; {twice} of {ITERATIONS} iterations twice"

    def metrics(self) -> dict[str, Any]:
        """LVIS AP of the cell, predicted and evaluated with its weights."""
        code = (
            "import json, sys; from pathlib import Path\n"
            "from gumbel.detection.predict import predict; from gumbel.evaluation.lvis_ap import score\n"
            "config, checkpoint, annotations, output = map(Path, sys.argv[1:])\n"
            "predict(config, checkpoint, {('val', 'matched'): output})\n"
            "print(json.dumps(score(annotations, output)[0]))"
        )
        output = self.folder / "check.parquet"
        arguments = [self.cell.config, self.cell.checkpoint, "data/mini/val.json", output]
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    def require_same_result(self, undisturbed: "Workspace") -> None:
        """Every weight has the same bits, and every figure of the evaluation is the same."""
        found, expected = (torch.load(each.cell.checkpoint, weights_only=True) for each in (self, undisturbed))
        assert found.keys() == expected.keys()
        different = [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)]
        assert not different, f"weights differ: {different[:5]}"
        figures = self.metrics()
        record = json.loads(undisturbed.cell.metrics("val", "matched").read_text())
        assert [figures[kind] for kind in ("segm", "bbox")] == [record[kind] for kind in ("segm", "bbox")]

    def note(self, fault: str, happened: str) -> None:
        """Add a row to the fault table."""
        with NOTES.open("a") as file:
            print(json.dumps({"fault": fault, "kind": self.cluster.kind, "happened": happened}), file=file)

    def end(self) -> None:
        """End what still runs of this workspace."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        self.cluster.end_jobs()
        for process in psutil.process_iter():  # what a node that was declared dead has left, too
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()) == self.folder:
                    process.kill()


def suspend(process: psutil.Process) -> None:
    """Stop a process, and return when it stands: on a busy machine it runs on for a while."""
    process.suspend()
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, f"process {process.pid} stands", 30, interval=0.001)


def _environment() -> dict[str, str]:
    """The checkout's own package, not the tests'; the nodes share this machine's cores, so a process has one thread."""
    return environment() | {"OMP_NUM_THREADS": "1"}


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
