"""`gumbel study`: Snakemake once a level, whatever becomes of the others. A stub stands in for Snakemake."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gumbel.commands import main
from gumbel.experiment import matrix
from gumbel.paths import CONFIGS, REPOSITORY, StudyPaths

#: Notes what it was called with; fails, or is interrupted with its parent, in the level that ``break`` names.
STUB = """
import json, os, signal, sys, time
from pathlib import Path
with open("calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
broken = Path("break")
if broken.exists() and broken.read_text().split()[0] in sys.argv[-1]:
    if "interrupt" in broken.read_text():
        signal.signal(signal.SIGTERM, lambda *given: (Path("saved").touch(), sys.exit(1)))
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(30)
    sys.exit(1)
"""
STUDY = {
    "name": "small",
    "description": "A study of three levels.",
    "base": "tail",
    "of": "gumbel",
    "against": ["softmax"],
    "factors": {"data.imbalance": [1, 10, 100]},
}
LEVELS = ["tail_data_imbalance_1", "tail_data_imbalance_10", "tail"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a study, in which Python's `snakemake` is the stub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stub" / "snakemake").mkdir(parents=True)
    (tmp_path / "stub" / "snakemake" / "__init__.py").touch()
    (tmp_path / "stub" / "snakemake" / "__main__.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'stub'}:{REPOSITORY}")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(STUDY))
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose signals are its own."""
    command = [sys.executable, "-m", "gumbel", "study", "small.yaml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def calls() -> list[list[str]]:
    return [json.loads(line) for line in Path("calls").read_text().splitlines()] if Path("calls").exists() else []


def called() -> list[str]:
    return [matrix.load(Path(call[-1])).name for call in calls()]


def test_every_level_is_run_with_the_same_options_and_its_own_file(folder):
    done = run("--", "--profile", "slurm", "-n")
    assert done.returncode == 0, done.stderr
    assert called() == LEVELS
    assert all(call[:-1] == ["--profile", "slurm", "-n", "--configfile"] for call in calls())
    assert Path(calls()[-1][-1]) == CONFIGS / "experiments" / "tail.yaml"
    assert done.stdout.splitlines()[-1] == str(StudyPaths("small").report)


@pytest.mark.slow
def test_a_level_that_fails_holds_up_no_other_and_is_named_at_the_end(folder):
    Path("break").write_text("imbalance_10/")
    failed = run()
    assert failed.returncode == 1
    assert called() == LEVELS
    assert "Snakemake failed in tail_data_imbalance_10;" in failed.stderr
    assert StudyPaths("small").report.exists()
    Path("break").unlink()
    assert run().returncode == 0
    assert called() == [*LEVELS, *LEVELS]  # Snakemake knows what is left to do


def test_after_a_signal_the_level_ends_by_itself_and_no_other_begins(folder):
    Path("break").write_text("imbalance_10/ interrupt")
    assert run().returncode == 128 + signal.SIGTERM
    assert called() == LEVELS[:2]
    assert Path("saved").exists()


def test_the_page_alone_runs_nothing(folder, capsys):
    main(["study", "--page", "small.yaml"])
    assert not calls()
    assert StudyPaths("small").report.exists()
    assert "0 of 36 trainings are done" in StudyPaths("small").report.read_text()
