"""A reduced matrix through Snakemake, from nothing to the page, interrupted and not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

import pandas as pd
import pytest

from gumbel.paths import CONFIGS, REPOSITORY, ExperimentPaths

FILES = ExperimentPaths("tiny")
CELLS = [("mask_rcnn_r50", name) for name in ("sigmoid", "gumbel")]


@pytest.fixture
def short_schedules():
    """Schedules of a few iterations beside the real ones, removed afterwards."""
    written = []
    for name in ("mini", "mini_warm_start"):
        text = (CONFIGS / "schedules" / f"{name}.py").read_text()
        text = re.sub(r"^iterations = \d+", "iterations = 60", text, flags=re.MULTILINE)
        path = CONFIGS / "schedules" / f"test_{os.getpid()}_{name}.py"
        path.write_text(re.sub(r"checkpoint_interval = \d+", "checkpoint_interval = 5", text))
        written.append(path)
    yield [path.stem for path in written]
    for path in written:
        path.unlink()


def metrics(folder: Path) -> dict[str, dict]:
    return {
        f"{activation}/{path.parent.name}/{path.stem}": json.loads(path.read_text())
        for architecture, activation in CELLS
        for path in sorted((folder / FILES.cell(architecture, activation, 0).root).glob("metrics/*/*.json"))
    }


@pytest.mark.slow
def test_a_reduced_matrix_ends_with_the_page_and_an_interruption_changes_no_metric(
    snakemake, experiment_file, short_schedules, tmp_path
):
    schedule, warm_schedule = short_schedules
    config = experiment_file(
        architectures=["mask_rcnn_r50"],
        activations=[activation for _, activation in CELLS],
        schedule=schedule,
        warm_start={"split": "warm_start", "schedule": warm_schedule},
    )
    arguments = ["reports/summary.html", "--configfile", config]

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    done = snakemake(*arguments, folder=undisturbed)
    assert done.returncode == 0, done.stderr[-4000:]
    found = metrics(undisturbed)
    # Two cells, and sigmoid under the released scoring too
    assert len(found) == 2 + 1
    assert all(0 <= record["segm"]["AP"] <= 1 for record in found.values())
    page = (undisturbed / "reports" / "summary.html").read_text()
    for word in ("sigmoid", "gumbel", "Mask R-CNN"):
        assert word.lower() in page.lower()
    summary = pd.read_parquet(undisturbed / FILES.summary)
    cells = summary[["architecture", "activation"]].drop_duplicates()
    assert set(CELLS) <= set(cells.itertuples(index=False, name=None))
    again = snakemake(*arguments, "-n", folder=undisturbed)
    assert "Nothing to be done" in again.stdout + again.stderr

    disturbed = tmp_path / "disturbed"
    disturbed.mkdir()
    arguments[0] = str(FILES.cell("mask_rcnn_r50", "gumbel", 0).metrics("val", "matched"))
    for sign in (signal.SIGKILL, signal.SIGINT):
        _interrupt_in_training(disturbed, arguments, sign)
    snakemake(*arguments, "--unlock", folder=disturbed)
    resumed = snakemake(*arguments, folder=disturbed)
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    repeated = metrics(disturbed)
    assert len(repeated) == 1
    for name, record in repeated.items():
        for kind in ("segm", "bbox"):
            assert record[kind] == found[name][kind], name


def _interrupt_in_training(folder: Path, arguments: list[str], sign: signal.Signals) -> None:
    """Start Snakemake, wait until a training has written a checkpoint, and end the process group."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([*command, "--directory", str(folder), *arguments, "--unlock"], env=environment, check=False)
    before = _saved(folder)
    process = subprocess.Popen(
        [*command, "--directory", str(folder), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A shell that starts tests in the background has its children ignore SIGINT
        preexec_fn=_heed_interrupts,
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None and _saved(folder) == before:
        time.sleep(0.05)
    assert process.poll() is None, "the run ended before it could be interrupted"
    assert _saved(folder) != before
    os.killpg(process.pid, sign)
    process.wait()


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _saved(folder: Path) -> set[str]:
    # Not `Path.glob`, which fails where the run removes a folder meanwhile
    return set(glob("results/tiny/**/iter_*.pth", root_dir=folder, recursive=True))
