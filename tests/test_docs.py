"""What the documentation says is so."""

import difflib
import re
import shlex
import tomllib

import pytest

from docs import reference
from gumbel.commands import parser
from gumbel.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
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
    assert not [name for name in named if name not in tutorial and not (REPOSITORY / name).exists()]


def test_readme_example_runs_and_prints_what_it_says():
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), space := {})
    for name, value in re.findall(r"^(\w+) = .*# ([\d.]+)$", code, re.MULTILINE):
        assert f"{space[name]:.2f}" == value, name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_have_the_stages_and_options_that_the_pages_write(page):
    text = page.read_text().replace("\\\n", " ")
    for command in re.findall(r"^python -m gumbel (.*)$", text, re.MULTILINE):
        arguments = shlex.split(command, comments=True)
        if "--help" not in arguments:
            parser().parse_args(arguments)  # exits where it does not know one


def test_readme_names_only_targets_that_the_makefile_has():
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make (\w+)", page.read_text(), re.MULTILINE)) <= set(targets), page


def test_changelog_describes_the_version_of_the_package():
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"## [{version}]" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"\nversion: {version}\n" in citation
