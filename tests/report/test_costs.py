"""What an experiment cost: every job counts, and cores as they were used."""

from pathlib import Path

import pandas as pd
import pytest

from gumbel.experiment import matrix
from gumbel.report.page.results import Results, waited_share
from gumbel.report.page.sections.matrix import Matrix, devices
from gumbel.report.page.sections.provenance import Provenance, estimates, stages
from gumbel.report.summary.collect import collect
from tests.report import fixtures

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path: Path, seconds: float, cores: float | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:01\t1\t1\t1\t1\t0\t0\t50\t{cores}\n")


def test_warm_starts_and_evaluation_are_stages_beside_the_trainings(tmp_path: Path) -> None:
    cell = tmp_path / "mask_rcnn_r50/gumbel/seed0/benchmarks"
    benchmark(tmp_path / "warm_start/mask_rcnn_r50/benchmarks/train.tsv", 20, 30)
    benchmark(cell / "train.tsv", 100, 150)
    for split in ("val", "val_uniform"):
        benchmark(cell / f"evaluate_{split}_matched.tsv", 3, 2)
    benchmark(cell / "weight_norms.tsv", 0.4, "NA")  # too short to be measured
    found = {stage.name: (stage.jobs, stage.seconds, stage.core_seconds) for stage in stages(tmp_path)}
    assert found == {
        "train": (1, 100, 150),
        "warm start": (1, 20, 30),
        "evaluate": (2, 6, 4),
        "weight norms": (1, pytest.approx(0.4), 0),
    }


def test_a_training_counts_as_often_as_it_has_gpus_or_threads() -> None:
    assert devices({"device": "cuda:0", "world_size": 8, "threads": 4}) == 8
    assert devices({"device": "cpu", "world_size": 2, "threads": 3}) == 6
    assert devices({"device": "cpu"}) == 1


def test_cores_are_those_of_all_jobs_where_they_were_measured() -> None:
    trained = [{"device": "cpu", "threads": 2, "seconds": 3600.0}, {"device": "cuda:0", "seconds": 7200.0}]
    hours = {estimate.device: estimate.hours for estimate in estimates(trained, cores=5.0)}
    assert hours == {"CPU core": 5.0, "GPU": 2.0}
    assert {estimate.device: estimate.hours for estimate in estimates(trained, cores=0.0)}["CPU core"] == 2.0


def test_the_share_of_waiting_is_of_the_time_not_a_mean_of_iterations(tmp_path: Path) -> None:
    history = tmp_path / "history.parquet"
    pd.DataFrame({"seconds": [1.0, 9.0], "waited": [1.0, 0.0]}).to_parquet(history)
    assert waited_share(history) == pytest.approx(0.1)


def test_a_history_that_does_not_say_has_no_share_of_waiting(tmp_path: Path) -> None:
    older, empty = tmp_path / "older.parquet", tmp_path / "empty.parquet"
    pd.DataFrame({"seconds": [1.0, 9.0]}).to_parquet(older)
    pd.DataFrame({"seconds": [], "waited": []}, dtype=float).to_parquet(empty)
    assert [waited_share(path) for path in (older, empty, tmp_path / "none.parquet")] == [None] * 3


def test_each_training_says_how_long_it_waited_for_data_and_a_row_of_the_matrix_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], seeds=[0, 1])
    fixtures.build(tmp_path, experiment, categories=9)
    softmax, _, sigmoid, *_ = (cell.paths(experiment).history for cell in matrix.cells(experiment))
    pd.read_parquet(softmax).assign(waited=0.1, seconds=0.4).to_parquet(softmax)
    pd.read_parquet(sigmoid).drop(columns="waited").to_parquet(sigmoid)
    results = Results(experiment, collect(experiment))
    assert [run.waited for run in results.runs][:3] == [pytest.approx(0.25), pytest.approx(0.03), None]
    assert Provenance(results).waited == (pytest.approx(0.03), pytest.approx(0.25))
    rows = {row.activation: row.waited for row in Matrix(results).rows if row.scoring == "matched"}
    assert rows["softmax"] == pytest.approx(0.25)
