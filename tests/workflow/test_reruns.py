"""Which edits train again, and which do not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gumbel.commands import commands
from gumbel.detection.compose import CUSTOM_IMPORTS
from gumbel.experiment import dependencies, matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import REPOSITORY
from tests.detection.conftest import TINY
from tests.workflow.checkout import new_checkout

EXPERIMENT = {
    **TINY,
    "architectures": ["mask_rcnn_r50", "mask_rcnn_x101"],
    "activations": ["softmax", "gumbel"],
    "schedule": "test",
    "released_scoring": [],
    "snapshots": [],
}
#: Options of stages that name a file to write.
WRITTEN = {flag for command in commands().values() for each in command.arguments if each.writes for flag in each.flags}
#: Stands in for `python -m gumbel`: every stage only touches the files that it would write.
STUB = """\
#!{python} -S
import itertools, pathlib, re, sys
stage, arguments = sys.argv[3], sys.argv[4:]
files = [value for name, value in zip(arguments, arguments[1:]) if name in {outputs}]
if stage == "data":
    names = ("train.json", "val.json", "val_uniform.json", "warm_start.json", "ATTRIBUTION.md", "checksums.json")
    files = ["data/mini/" + name for name in names]
elif stage == "configs":
    text = pathlib.Path(arguments[1]).read_text()
    lists = [re.findall(r"^- (.*)$", re.search(rf"^{{key}}:\\n((?:- .*\\n)+)", text, re.M)[1], re.M)
             for key in ("architectures", "activations", "seeds")]
    files = ["results/tiny/{{}}/{{}}/seed{{}}/config.py".format(*cell) for cell in itertools.product(*lists)]
    files += [f"results/tiny/warm_start/{{name}}/config.py" for name in lists[0]]
    files += ["results/tiny/recipe.json"]
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
        command = [sys.executable, "-m", "snakemake", "reports/summary.html", *arguments, "--configfile", "tiny.yaml"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["PATH"] = f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        (self.root / file).write_text(text.replace(old, new, 1))

    def planned(self) -> tuple[set[str], str]:
        """Trainings that a dry run would do, as architecture/activation/seed, and what it prints below."""
        output = self.snakemake("-n")
        blocks = re.findall(r"^rule train:\n(?:    .*\n)*?    wildcards: (.*)$", output, re.MULTILINE)
        cells = {"/".join(re.findall(r"=(\w+)", block)) for block in blocks}
        return cells, output.partition("This was a dry-run")[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("reruns"))


@pytest.mark.slow
def test_edits_that_cannot_change_a_training_never_repeat_one(project):
    project.edit("gumbel/detection/loop.py", '"""', '"""Another docstring. ')
    project.edit("gumbel/detection/losses.py", "\n\n\n", "\n\n\n# A comment\n")
    for file in ("evaluation/lvis_ap.py", "detection/predict.py", "report/page.py"):
        project.edit(f"gumbel/{file}", "\n\n\n", "\n\n\nANOTHER = 1\n\n\n")
    project.edit("reports/templates/style.css", "{", "{ ")
    project.edit("docs/report.md", "# ", "# Another ")
    project.edit("workflow/rules/train.smk", "tee {log}", "tee -i {log}")
    cells, summary = project.planned()
    assert cells == set()
    assert "No finished training would be thrown away" in summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "repeated", "named"),
    [
        ("gumbel/detection/loop.py", "manual_seed(", "manual_seed(1 + ", "", "gumbel/detection/loop.py"),
        ("configs/schedules/test.py", "lr=2e-3", "lr=1e-3", "", "seed0/config.py"),
        ("configs/models/mask_rcnn_x101.py", "groups=64", "groups=32", "", "seed0/config.py"),
        (
            "gumbel/activations/gumbel.py",
            "def ",
            "def another():\n    pass\n\n\ndef ",
            "gumbel",
            "activations/gumbel.py",
        ),
        ("tiny.yaml", "rois: 16", "rois: 8", "", "seed0/config.py"),
    ],
)
def test_an_edit_that_can_change_a_training_repeats_it_and_is_named(project, file, old, new, repeated, named):
    before = (project.root / file).read_text()
    project.edit(file, old, new)
    try:
        cells, summary = project.planned()
    finally:
        (project.root / file).write_text(before)
    assert cells == {f"{cell}/0" for cell in _all_cells() if repeated in cell}
    assert "Finished trainings that would be done again" in summary
    assert re.search(named, summary), summary
    assert len(re.findall(r"/seed0 \(", summary)) == len(cells)


def test_no_rule_passes_over_the_age_of_what_another_rule_makes():
    """Below an `ancient` input that is being made anew, Snakemake 9 no longer looks at a job's own parameters."""
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        assert not re.search(r"ancient\((?!\))", file.read_text()), file.name


def _all_cells() -> list[str]:
    return [f"{row}/{column}" for row in EXPERIMENT["architectures"] for column in EXPERIMENT["activations"]]


def test_the_recipe_starts_from_every_module_that_a_configuration_loads():
    assert {f"gumbel.detection.{name}" for name in dependencies.ROOTS} >= set(CUSTOM_IMPORTS)


def test_harmless_keys_exist_and_every_other_key_is_part_of_the_recipe():
    tiny = matrix.parse(TINY)
    keys = set(Experiment.model_fields)
    assert keys >= dependencies.HARMLESS
    parameters = dependencies.cell_parameters(tiny)
    named = {name.removeprefix("setting_") for name in parameters if name.startswith("setting_")}
    assert named == keys - dependencies.HARMLESS - {"classifier", "variant", "training", "cells"}
    # These concern a cell's own settings
    assert parameters["classifier"](_Cell("softmax")) != parameters["classifier"](_Cell("gumbel"))
    changed = dependencies.cell_parameters(_with(tiny, cells={"mask_rcnn_r50/gumbel": {"warmup": 7}}))
    assert changed["training"](_Cell("gumbel")) != parameters["training"](_Cell("gumbel"))
    assert changed["training"](_Cell("softmax")) == parameters["training"](_Cell("softmax"))


def _with(experiment: Experiment, **changes: object) -> Experiment:
    return Experiment.model_validate(experiment.model_dump() | changes)


class _Cell:
    architecture = "mask_rcnn_r50"

    def __init__(self, activation: str):
        self.activation = activation
