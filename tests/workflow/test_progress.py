"""What a run shows while cells are missing, running or failed."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from gumbel.datasets import mini
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import status
from gumbel.paths import ExperimentPaths
from tests.report import fixtures
from tests.workflow.test_graph import jobs

FILES = ExperimentPaths("fake")


@pytest.fixture
def partial(tmp_path: Path) -> Experiment:
    """Three cells below ``tmp_path``: done, failed in its evaluation, never started."""
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    (tmp_path / "fake.yaml").write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
    fixtures.build(tmp_path, experiment, categories=6)
    _, failed, missing = (cell.paths(experiment) for cell in matrix.cells(experiment))
    (tmp_path / failed.metrics("val", "matched")).unlink()
    log = tmp_path / failed.log("evaluate_val_matched")
    log.parent.mkdir()
    log.write_text("gumbel evaluate: expected boxes of four numbers, found three\n")
    shutil.rmtree(tmp_path / missing.root)
    return experiment


def test_asked_to_allow_it_the_report_is_made_of_what_is_there_and_nothing_else_runs(snakemake, partial, tmp_path):
    command = ["reports/summary.html", "--configfile", "fake.yaml"]
    assert jobs(snakemake(*command, "-n").stdout)["train"] == 3
    command += ["--config", "allow_missing=true"]
    assert jobs(snakemake(*command, "-n").stdout) == {"experiment": 1, "collect": 1, "report": 1, "total": 3}
    done = snakemake(*command)
    assert done.returncode == 0, done.stderr[-4000:]

    summary = pd.read_parquet(tmp_path / FILES.summary)
    assert summary[summary["source"] == "cell"]["state"].tolist() == ["done", "failed", "missing"]
    page = (tmp_path / "reports/summary.html").read_text()
    log = FILES.cell("mask_rcnn_r50", "sigmoid", 0).log("evaluate_val_matched")
    assert f"expected boxes of four numbers, found three (log: {log})" in page
    assert "not started" in page
    assert "<h1>1 of 4 trainings done</h1>" in (tmp_path / "reports/fake/progress.html").read_text()

    again = snakemake(*command, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr
    missing = FILES.cell("mask_rcnn_r50", "gumbel", 0)
    status.write(tmp_path / missing.status, status.Status(state="failed", message="no memory left"))
    assert jobs(snakemake(*command, "-n").stdout) == {"collect": 1, "report": 1, "total": 2}


def test_allowing_cells_to_miss_changes_no_file_that_a_training_reads(snakemake, partial, tmp_path):
    for change in ([], ["--config", "allow_missing=true"]):
        done = snakemake(str(FILES.experiment), "--configfile", "fake.yaml", *change)
        assert done.returncode == 0, done.stderr
        written = (tmp_path / FILES.experiment).stat().st_mtime_ns
    again = snakemake(str(FILES.experiment), "--configfile", "fake.yaml", "-n")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert (tmp_path / FILES.experiment).stat().st_mtime_ns == written


def test_a_run_that_fails_quotes_the_last_lines_of_the_log_and_leaves_a_page_that_does_too(
    snakemake, partial, tmp_path
):
    data = tmp_path / partial.data_root
    for split in mini.SPLITS:
        (data / f"{split}.json").write_text("{")
    (tmp_path / FILES.object_distribution).unlink()
    failed = snakemake(str(FILES.object_distribution), "--configfile", "fake.yaml")
    assert failed.returncode == 1
    said = failed.stderr[failed.stderr.index("failed: object_distribution: ") :]
    assert f"  {FILES.log('object_distribution')}\n  | gumbel object-distribution: " in said
    assert "allow_missing=true" in said
    page = (tmp_path / "reports/fake/progress.html").read_text()
    assert "gumbel object-distribution: " in page
    assert 'http-equiv="refresh"' not in page
