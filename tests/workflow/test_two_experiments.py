"""Experiments share a folder, and neither their reports nor their progress."""

import re
from pathlib import Path

import pytest
import yaml

from tests.report import fixtures
from tests.workflow.test_graph import jobs


@pytest.mark.slow
def test_the_page_of_all_is_that_of_the_experiment_that_was_run_last_and_leaves_the_others_alone(snakemake, tmp_path):
    for name in ("one", "other"):
        experiment = fixtures.make_experiment(name=name, architectures=["mask_rcnn_r50"], activations=["gumbel"])
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
        fixtures.build(tmp_path, experiment, categories=6)

    def shown_after(name: str) -> str:
        allowed = ["--config", "allow_missing=true", "--configfile", f"{name}.yaml"]
        done = snakemake("reports/summary.html", *allowed)
        assert done.returncode == 0, done.stderr[-4000:]
        return re.findall(r"Experiment <b>(\w+)</b>", (tmp_path / "reports/summary.html").read_text())[0]

    def files() -> dict[str, bytes]:
        found = (path for path in (tmp_path / "reports/one").rglob("*") if path.is_file())
        return {str(path): Path(path).read_bytes() for path in found}

    assert shown_after("one") == "one"
    before = files()
    assert shown_after("other") == "other"
    assert files() == before
    assert (tmp_path / "reports/other/progress.html").exists()
    planned = snakemake("reports/summary.html", "--config", "allow_missing=true", "--configfile", "one.yaml", "-n")
    assert jobs(planned.stdout) == {"report": 1, "total": 1}
    assert shown_after("one") == "one"
    index = (tmp_path / "reports/index.html").read_text()
    assert set(re.findall(r'<a href="(\w+)/summary.html">(\w+)</a>', index)) == {("one", "one"), ("other", "other")}
