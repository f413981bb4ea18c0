"""Where a checkout lies, what its folders are called, and what became of its files' times, change nothing."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gumbel.paths import REPOSITORY, ExperimentPaths
from tests.detection.conftest import TINY
from tests.workflow.checkout import new_checkout

#: What shells and make take for the end of a name, and what ASCII has no letter for.
STRANGE = "someone's größte  Daten"
EXPERIMENT = {
    **TINY,
    "data_root": f"data of {STRANGE}/mini",
    "architectures": ["mask_rcnn_r50"],
    "activations": ["softmax", "gumbel"],
    "schedule": "test",
    "released_scoring": [],
    "snapshots": [],
    "warm_start": None,
}
#: What Snakemake's rules name beside files: words of a command, given by a profile.
WORDS_OF_A_COMMAND = {"resources.launcher", "resources.checks"}
Change = Callable[[Path], object]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Snakemake by its path: no environment is activated, and no home folder can be written to."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/proc/none", "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "tiny.yaml"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A checkout in a folder of that name, whose report is there."""
    root = new_checkout(tmp_path_factory.mktemp("places") / STRANGE / "checkout", "test", 24, checkpoint_interval=10)
    (root / "configs" / "models" / "mask_rcnn_r50.py").write_text(
        re.sub(r'backbone="[\w-]+"', "backbone=None", (root / "configs/models/mask_rcnn_r50.py").read_text())
    )
    (root / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    done = run(root)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return root


@pytest.mark.slow
def test_folders_of_any_name_hold_a_checkout_and_its_data(finished):
    files = ExperimentPaths("tiny")
    assert {path.name for path in (finished / files.root / "mask_rcnn_r50").iterdir()} == {"softmax", "gumbel"}
    assert (finished / "reports" / "summary.html").stat().st_size > 10_000
    assert (finished / EXPERIMENT["data_root"] / "train.json").is_file()


@pytest.mark.slow
def test_caches_of_a_home_folder_that_cannot_be_written_to_lie_in_the_working_folder(finished):
    assert list((finished / ".snakemake" / "cache").iterdir())


def touched(root: Path) -> None:
    """Every file is of now, the last ones first."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()


def set_back(root: Path) -> None:
    """What was made is older than what it was made from."""
    for folder in ("results", "reports"):
        for path in (root / folder).rglob("*"):
            os.utime(path, (1e9, 1e9))


@pytest.mark.slow
@pytest.mark.parametrize("change", [touched, set_back, None])
@pytest.mark.parametrize("keeps_times", [True, False])
def test_a_finished_checkout_has_nothing_to_do(finished, tmp_path, change, keeps_times):
    """However it was copied, wherever to."""
    copy = shutil.copytree(
        finished, tmp_path / "elsewhere", symlinks=True, copy_function=shutil.copy2 if keeps_times else shutil.copy
    )
    if change:
        change(copy)
    planned = run(copy, "-n")
    assert "Nothing to be done" in planned.stdout + planned.stderr, planned.stdout[-3000:]


@pytest.mark.slow
def test_what_did_change_is_still_noticed(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "elsewhere", symlinks=True)
    training = copy / EXPERIMENT["data_root"] / "train.json"
    training.write_text(training.read_text() + " ")
    os.utime(training)
    planned = run(copy, "-n")
    assert re.search(r"^train +2$", planned.stdout, re.MULTILINE), planned.stdout


RULES = sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))


@pytest.mark.parametrize("file", RULES, ids=[file.stem for file in RULES])
def test_every_placeholder_of_a_command_is_quoted(file):
    kinds = "input|output|log|params|wildcards|resources|threads"
    placeholders = re.findall(rf"\{{((?:{kinds})\b[^{{}}:]*)(:?\w*)\}}", file.read_text())
    assert [field for field, form in placeholders if form != ":q" and field not in WORDS_OF_A_COMMAND] == []


def test_commands_have_placeholders():
    assert sum(file.read_text().count(":q}") for file in RULES) > 40


@pytest.mark.parametrize("file", RULES, ids=[file.stem for file in RULES])
def test_no_rule_runs_a_script(file):
    """Snakemake starts these by the unquoted path of Python, which may have spaces."""
    assert not re.search(r"^\s*(script|notebook|wrapper|template_engine):", file.read_text(), re.MULTILINE)
