"""A figure is defined in one place: the how-to page is followed to the end."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gumbel.evaluation.bootstrap import interval, load
from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.metrics import METRICS, SHOWN
from gumbel.experiment import matrix
from gumbel.paths import REPOSITORY, ExperimentPaths
from tests.evaluation import federated
from tests.report import fixtures

PAGE = (REPOSITORY / "docs" / "how-to" / "add-a-metric.md").read_text()


@pytest.mark.slow
def test_the_page_on_adding_a_metric_adds_one_to_figures_replicates_report_and_exports(tmp_path):
    shutil.copytree(REPOSITORY / "gumbel", tmp_path / "gumbel", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("configs", "reports/templates"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    shutil.copy(REPOSITORY / "CITATION.cff", tmp_path)  # exports name the authors
    module = tmp_path / "gumbel" / "evaluation" / "metrics.py"
    assert str(module.relative_to(tmp_path)) in PAGE
    entry = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    before, after = re.fullmatch(r"(.*\nMETRICS = \(.*?)(\n\)\n.*)", module.read_text(), re.DOTALL).groups()
    module.write_text(f"{before}\n    {entry.rstrip()},{after}")
    truth, detections = federated.generate(2, images=20)
    annotations, predictions = federated.write(tmp_path, truth, detections)

    def run(*command):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = re.search(r"```console\npython (.*?)```", PAGE, re.DOTALL).group(1).replace("\\\n", " ")
    (tmp_path / "val.json").write_bytes(annotations.read_bytes())
    run(*command.split(), "--replicates", "20")
    metrics, resamples = json.loads((tmp_path / "metrics.json").read_text()), load(tmp_path / "bootstrap.npz")
    for iou_type, table in score(annotations, predictions).per_category.groupby("iou_type"):
        expected = table[table["frequency"] == "r"]["AP50"].mean()
        assert metrics[iou_type]["AP50r"] == pytest.approx(expected)
        assert interval([resamples[iou_type]], "AP50r").estimate == pytest.approx(expected)
        assert np.ptp(resamples[iou_type].bootstrap["AP50r"]) > 0
    assert "AP50r" in run("-m", "gumbel", "compare", "--annotations", "val.json", *[str(predictions)] * 2)
    experiment = fixtures.make_experiment(
        architectures=["mask_rcnn_r50"], activations=["softmax", "gumbel"], splits=["val"], snapshots=[]
    )
    fixtures.build(tmp_path, experiment, categories=9)
    for cell in matrix.cells(experiment):
        files = cell.paths(experiment)
        shutil.copy(tmp_path / "metrics.json", tmp_path / files.metrics("val", "matched"))
        shutil.copy(tmp_path / "bootstrap.npz", tmp_path / files.bootstrap("val", "matched"))
    given = ("--experiment", experiment.model_dump_json(), "--output")
    run("-m", "gumbel", "collect", *given, str(ExperimentPaths("fake").summary))
    run("-m", "gumbel", "report", *given, "reports/summary.html")
    exports = tmp_path / ExperimentPaths("fake").exports
    expected = 100 * metrics["segm"]["AP50r"]
    assert pd.read_csv(exports / "matrix.csv")["AP50r"].tolist() == pytest.approx([expected] * 2)
    page = (tmp_path / "reports/summary.html").read_text()
    (matrix_of_the_page, *_) = [table for table in re.findall("<table.*?</table>", page, re.DOTALL) if "AP50r" in table]
    for text in (matrix_of_the_page, (exports / "tables.tex").read_text(), (exports / "report.md").read_text()):
        assert "AP50r" in text
        assert text.count(f"{expected:.1f}") >= 2


def test_every_metric_has_a_name_of_its_own():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert {name for _, name in SHOWN} <= set(names)
