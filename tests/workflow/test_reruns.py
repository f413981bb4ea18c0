"""Which edits train again, and which do not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gumbel.commands import commands
from gumbel.detection.compose import CUSTOM_IMPORTS, cell_config, warm_start_config
from gumbel.experiment import dependencies, matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS, REPOSITORY
from tests.detection.conftest import TINY
from tests.workflow.checkout import new_checkout

EXPERIMENT = {
    **TINY,
    "architectures": ["mask_rcnn_r50", "mask_rcnn_x101"],
    "activations": ["softmax", "gumbel"],
    "schedule": "test",
    "released_scoring": [],
    "snapshots": [],
    "cells": {},
}
#: Options of stages that name a file to write.
WRITTEN = {flag for command in commands().values() for each in command.arguments if each.writes for flag in each.flags}
#: Stands in for `python -m gumbel`: every stage only touches the files that it would write.
STUB = """\
#!{python} -S
import os, pathlib, sys
if sys.argv[1:3] != ["-m", "gumbel"]:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
stage, arguments = sys.argv[3], sys.argv[4:]
files = [value for name, value in zip(arguments, arguments[1:]) if name in {outputs}]
if stage == "data":
    names = ("train.json", "val.json", "val_uniform.json", "warm_start.json", "ATTRIBUTION.md", "checksums.json")
    files = ["data/mini/" + name for name in names]
elif stage == "configs":
    files = arguments[arguments.index("--only") + 1:]
elif stage == "train":
    folder = pathlib.Path([name for name in arguments if name.endswith("config.py")][0]).parent / "train"
    files = [str(folder / name) for name in ("checkpoint.pth", "history.parquet", "manifest.json")]
for file in map(pathlib.Path, files):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(stage)
"""


class Project:
    """A copy of the project with every training finished, as Snakemake believes."""

    def __init__(self, folder: Path):
        self.root = new_checkout(folder / "checkout", "test", iterations=5, checkpoint_interval=5)
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "python").write_text(STUB.format(python=sys.executable, outputs=WRITTEN))
        (self.bin / "python").chmod(0o755)
        self.experiment()
        self.snakemake("--cores", "2")

    def experiment(self, **changes: object) -> None:
        (self.root / "tiny.yaml").write_text(yaml.safe_dump({**EXPERIMENT, **changes}))

    def snakemake(self, *arguments: str) -> str:
        # Jobs run with the Python that runs Snakemake
        start = f"import sys; sys.executable = {str(self.bin / 'python')!r}; from snakemake.cli import main; main()"
        command = [sys.executable, "-c", start, "reports/summary.html", *arguments, "--configfile", "tiny.yaml"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        (self.root / file).write_text(text.replace(old, new, 1))

    def dry_run(self) -> str:
        return self.snakemake("-n")


def planned(output: str, rule: str) -> set[str]:
    """Cells whose job of this rule a dry run would do, as architecture/activation/seed."""
    blocks = re.findall(rf"^(?:local)?rule {rule}:\n(?:    .*\n)*?    wildcards: (.*)$", output, re.MULTILINE)
    return {"/".join(re.findall(r"(?:architecture|activation|seed)=(\w+)", block)) for block in blocks}


def said(output: str) -> str:
    """What a dry run prints below its jobs."""
    return output.partition("This was a dry-run")[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("reruns"))


@pytest.mark.slow
def test_edits_that_cannot_change_a_training_never_repeat_one(project):
    project.edit("gumbel/detection/loop.py", '"""', '"""Another docstring. ')
    project.edit("gumbel/detection/losses.py", "\n\n\n", "\n\n\n# A comment\n")
    for file in ("evaluation/lvis_ap.py", "detection/predict.py", "report/page/render.py"):
        project.edit(f"gumbel/{file}", "\n\n\n", "\n\n\nANOTHER = 1\n\n\n")
    project.edit("reports/templates/style.css", "{", "{ ")
    project.edit("docs/report.md", "# ", "# Another ")
    project.edit("workflow/rules/train.smk", "tee {log:q}", "tee -i {log:q}")
    output = project.dry_run()
    assert planned(output, "train") == planned(output, "config") == set()
    assert "No finished training would be thrown away" in said(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "repeated", "named"),
    [
        ("gumbel/detection/loop.py", "manual_seed(", "manual_seed(1 + ", "", "gumbel/detection/loop.py"),
        ("configs/schedules/test.py", "lr=2e-3", "lr=1e-3", "", "configs/schedules/test.py"),
        ("configs/models/mask_rcnn_x101.py", "groups=64", "groups=32", "x101", "configs/models/mask_rcnn_x101.py"),
        ("gumbel/detection/curves.py", "SCALARS_EVERY = 10", "SCALARS_EVERY = 20", "", "gumbel/detection/curves.py"),
        ("gumbel/experiment/schema.py", "divmod(self.batch, ", "divmod(2 * self.batch, ", "", "experiment/schema.py"),
        (
            "gumbel/activations/gumbel.py",
            "import math\n",
            "import cmath\nimport math\n",
            "gumbel",
            "activations/gumbel.py",
        ),
        ("tiny.yaml", "sampled: 16", "sampled: 8", "", '"regions": .*"sampled": 16.* became .*"sampled": 8'),
        ("tiny.yaml", "cells: {}", "cells: {mask_rcnn_x101/gumbel: {warmup: 2}}", "x101/gumbel", 'warmup": 2'),
    ],
)
def test_an_edit_that_can_change_a_training_repeats_it_and_is_named(project, file, old, new, repeated, named):
    before = (project.root / file).read_text()
    project.edit(file, old, new)
    try:
        output = project.dry_run()
    finally:
        (project.root / file).write_text(before)
    cells, summary = planned(output, "train"), said(output)
    assert cells == planned(output, "config") == {f"{cell}/0" for cell in _all_cells() if repeated in cell}
    assert "Finished trainings that would be done again" in summary
    assert re.search(named, summary), summary
    assert len(re.findall(r"/seed0 \(", summary)) == len(cells)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "concerned"),
    [
        ({"description": "Other words.", "grid": 8, "head_only": {"images": 5}, "reproduction": False}, set()),
        ({"activations": ["softmax", "gumbel", "sigmoid"]}, {"mask_rcnn_r50/sigmoid/0", "mask_rcnn_x101/sigmoid/0"}),
        ({"classifier": {"bias": {"gumbel": -1.0}}}, {"mask_rcnn_r50/gumbel/0", "mask_rcnn_x101/gumbel/0"}),
        ({"cells": {"mask_rcnn_r50": {"warmup": 3}}}, {"mask_rcnn_r50/softmax/0", "mask_rcnn_r50/gumbel/0"}),
    ],
)
def test_an_edit_of_the_experiment_starts_jobs_of_the_cells_that_it_concerns_alone(project, changes, concerned):
    project.experiment(**changes)
    try:
        output = project.dry_run()
    finally:
        project.experiment()
    for rule in ("config", "train", "predict", "evaluate", "weight_norms"):
        assert planned(output, rule) == concerned, rule
    assert not re.search(r"^(?:local)?rule (data|warm_start|warm_start_config):", output, re.MULTILINE)


def test_only_checks_are_passed_over_and_only_by_jobs_without_parameters():
    """Below an `ancient` input that is being made anew, Snakemake 9 no longer looks at a job's own parameters."""
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        for rule in re.split(r"^\s*(?:use )?rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            for passed_over in re.findall(r"ancient\(([^)]*)\)", rule):
                assert passed_over == "FILES.doctor", file.name
                assert "params:" not in rule, rule.partition(":")[0]


def _all_cells() -> list[str]:
    return [f"{row}/{column}" for row in EXPERIMENT["architectures"] for column in EXPERIMENT["activations"]]


def test_a_training_depends_on_every_module_that_a_configuration_loads():
    roots = {path.stem for path in dependencies.TRAINING}
    assert {name.removeprefix("gumbel.detection.") for name in CUSTOM_IMPORTS} <= roots


def read_back(experiment: Experiment) -> Experiment:
    """The experiment as a stage reads it that Snakemake gives the settings to."""
    return matrix.load("{" + "".join(dependencies.as_settings(experiment)) + "}")


@pytest.mark.parametrize("name", ["mini", "lvis", "gol", "pilot"])
def test_a_cell_has_the_same_configuration_in_its_own_part_of_the_experiment(name):
    """What its settings leave out decides nothing of it."""
    experiment = matrix.load(CONFIGS / "experiments" / f"{name}.yaml")
    for cell in matrix.cells(experiment)[:: max(1, len(matrix.cells(experiment)) - 1)]:
        names = (cell.architecture, cell.activation, cell.seed)
        own = read_back(dependencies.cell_settings(experiment, *names))
        assert [str(each) for each in matrix.cells(own)] == [str(cell)]
        assert cell_config(own, *names).pretty_text == cell_config(experiment, *names).pretty_text
    if experiment.warm_start:
        own = read_back(dependencies.warm_start_settings(experiment, "htc_r101"))
        expected = warm_start_config(experiment, "htc_r101").pretty_text
        assert warm_start_config(own, "htc_r101").pretty_text == expected


def test_every_key_that_is_not_harmless_is_among_a_cells_settings():
    tiny = matrix.parse(TINY)
    changed = {
        "description": "Other words.",
        "reproduction": True,
        "released_scoring": ["sigmoid"],
        "grid": 3,
        "allow_missing": True,
        "recipe": "2x",
        "checkpoints": {"mask_rcnn_r50/gumbel/seed0": "given.pth"},
        "head_only": {"images": 3},
    }
    assert set(changed) == dependencies.HARMLESS
    of = ("mask_rcnn_r50", "gumbel", 0)
    settings = dependencies.as_settings(dependencies.cell_settings(tiny, *of))
    for key, value in changed.items():
        other = Experiment.model_validate({**tiny.model_dump(mode="json"), key: value})
        assert dependencies.as_settings(dependencies.cell_settings(other, *of)) == settings, key
