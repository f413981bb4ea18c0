"""What the documentation says is so."""

import ast
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from docs import reference, study
from gumbel.commands import commands, parser
from gumbel.paths import REPOSITORY

SITE = sorted((REPOSITORY / "docs").rglob("*.md"))
PAGES = [*sorted(REPOSITORY.glob("*.md")), *SITE]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_pages_are_what_the_code_generates(name):
    written = (REPOSITORY / "docs" / name).read_text().splitlines()
    diff = list(
        difflib.unified_diff(written, reference.PAGES[name]().splitlines(), f"docs/{name}", "code", lineterm="")
    )
    assert not diff, "\n".join([*diff, "python -m docs.reference writes the page anew"])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_that_exist(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [link for link in links if not link.startswith("http")]
    assert not [link for link in local if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_named_files_of_the_checkout_exist(page):
    tops = "configs|docs|gumbel|tests|workflow|benchmarks|slurm"
    named = re.findall(rf"`((?:{tops})/[\w./-]*)`", page.read_text())
    # The reader writes them
    tutorial = {"gumbel/activations/cauchit.py", "configs/models/mask_rcnn_r18.py", "configs/experiments/own.yaml"}
    tutorial |= {"configs/experiments/longer_warmup.yaml"}
    assert not [name for name in named if name not in tutorial and not (REPOSITORY / name).exists()]


def test_readme_example_runs_and_prints_what_it_says():
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), space := {})
    for name, value in re.findall(r"^(\w+) = .*# ([\d.]+)$", code, re.MULTILINE):
        assert f"{space[name]:.2f}" == value, name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_have_the_stages_and_options_that_the_pages_write(page):
    text = page.read_text().replace("\\\n", " ")
    for command in re.findall(r"^(?:python -m )?gumbel ([a-z].*)$", text, re.MULTILINE):
        arguments = shlex.split(command.partition(" > ")[0], comments=True)
        if "--help" not in arguments:
            parser().parse_args(arguments)  # exits where it does not know one


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_within_sentences_have_a_stage_and_options_that_exist(page):
    for text in re.findall(r"`(?:python -m )?gumbel\s+([a-z][^`]*)`", page.read_text()):
        stage, *rest = text.split()
        known = {flag for argument in commands()[stage].arguments for flag in argument.flags}
        assert {word for word in rest if word.startswith("-")} <= known, text


def test_readme_names_only_targets_that_the_makefile_has():
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make (\w+)", page.read_text(), re.MULTILINE)) <= set(targets), page


def test_every_page_stands_once_in_the_contents_of_the_site():
    contents = re.findall(r"```{toctree}\n(.*?)```", (REPOSITORY / "docs" / "index.md").read_text(), re.DOTALL)
    listed = [line for part in contents for line in part.splitlines() if line and not line.startswith(":")]
    pages = [str(page.relative_to(REPOSITORY / "docs").with_suffix("")) for page in SITE]
    assert sorted([*listed, "index"]) == pages
    assert [re.findall(r":caption: (.+)", part)[0] for part in contents] == [
        "Tutorial", "How-to guides", "Reference", "Explanation",
    ]  # fmt: skip


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_the_checkout_has(workflow):
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    made = {command.split()[1] for command in commands if command.startswith("make ")}
    scripts = {command.split()[0] for command in commands if command.startswith(".ci/")}
    assert made | scripts
    assert made <= set(targets)
    assert all((REPOSITORY / script).is_file() for script in scripts)


def test_the_security_note_is_right_that_nothing_in_data_is_executed():
    for path in sorted((REPOSITORY / "gumbel").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                match ast.unparse(call.func):
                    case "np.load":
                        assert said.get("allow_pickle", "False") == "False", path
                    case "torch.load":
                        assert said.get("weights_only") == "True", path
                    case "pickle.load" | "pickle.loads":
                        assert path.name == "loading.py", path  # the cache of annotations, which the note names
                    case name:
                        assert name not in {"yaml.load", "yaml.unsafe_load"}, path


@pytest.mark.slow
def test_the_types_of_the_package_are_seen_from_outside(tmp_path):
    """py.typed is there, and the names that are loaded on demand have their types."""
    (tmp_path / "outside.py").write_text(
        "import torch\nimport gumbel\n"
        "reveal_type(gumbel.gumbel_activation(torch.zeros(2)))\n"
        "gumbel.gumbel_cross_entropy(torch.zeros(2, 3), 'wrong')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", "outside.py"]
    # As an installed package: found by its path, not as source beside the module that is checked
    environment = {**os.environ, "MYPYPATH": "", "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert 'Revealed type is "torch._tensor.Tensor"' in run.stdout, run.stdout + run.stderr
    assert 'outside.py:4: error: Argument 2 to "gumbel_cross_entropy"' in run.stdout
    assert len(run.stdout.splitlines()) == 3


def test_results_of_the_study_follow_the_last_heading_of_its_page_with_their_figures(tmp_path):
    """Level by level: what was found before stays, and a level that was run again replaces its rows."""
    (tmp_path / "exports").mkdir()
    shutil.copy(REPOSITORY / "docs" / "study.md", tmp_path)
    before = (tmp_path / "study.md").read_text().partition("## Results")[0]
    row = "{},gumbel,AP,3,{},0.4,0.5\n"
    for level, value in (("tail_data_imbalance_1", 0.411), ("tail", 0.422), ("tail_data_imbalance_1", 0.433)):
        for name in ("means", "differences"):
            table = "experiment,activation,metric,trainings,value,low,high\n" + row.format(level, value)
            (tmp_path / "exports" / f"{name}.csv").write_text(table)
        study.write(tmp_path, tmp_path / "exports")
    text, found = (tmp_path / "study.md").read_text().split("## Results")
    assert text == before
    means = found.partition("Means:")[2].partition("Differences:")[0]
    assert [re.findall(r"4\d\.\d", line)[0] for line in means.splitlines() if "Gumbel" in line] == ["43.3", "42.2"]
    shown = re.findall(r"\]\((.*?)\)", found)
    assert "study_AP.svg" in shown
    for name in shown:
        drawing = (tmp_path / name).read_text()
        assert drawing.startswith("<svg")
        assert ">Gumbel</text>" in drawing


def test_changelog_describes_the_version_of_the_package():
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"## [{version}]" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"\nversion: {version}\n" in citation
