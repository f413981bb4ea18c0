"""The package is built in layers: modules import only what lies below them."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gumbel.paths import REPOSITORY

#: From the top down.
LAYERS = (
    "commands",
    "report",
    "monitor",
    "exchange",
    "analysis",
    "preflight",
    "detection",
    "evaluation",
    "html",
    "words",
    "cluster",
    "experiment",
    "datasets",
    "jobs",
    "activations",
    "literals",
    "section",
    "paths",
    "functional",
)
OPENMMLAB = {"mmdet", "mmcv", "mmengine"}
MODULES = sorted((REPOSITORY / "gumbel").rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: expected absolute imports, found a relative one"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(path: Path) -> str:
    """`gumbel/report/page/render.py` belongs to report, `gumbel/paths.py` to paths."""
    return path.relative_to(REPOSITORY / "gumbel").parts[0].removesuffix(".py")


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks; every file where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "-C", REPOSITORY, "ls-files", "-z", "--", *patterns], capture_output=True, text=True, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return [REPOSITORY / name for name in listed if name and (REPOSITORY / name).is_file()]


def test_every_folder_and_module_of_the_package_is_a_layer():
    assert {layer(path) for path in MODULES} - {"__init__", "__main__"} == set(LAYERS)


def test_the_page_on_development_lists_the_layers_in_their_order():
    page = (REPOSITORY / "docs" / "development.md").read_text().partition("## Layers")[2]
    assert tuple(re.findall(r"^\| `(\w+)` \|", page.partition("\n## ")[0], re.MULTILINE)) == LAYERS


def test_imports_only_lead_downwards():
    upwards = []
    for path in MODULES:
        own = layer(path)
        if own in ("__init__", "__main__"):
            continue
        for name in imports(path):
            top, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if top == "gumbel" and LAYERS.index(other) < LAYERS.index(own):
                upwards.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not upwards


def test_the_package_itself_imports_only_the_mathematics():
    names = {name for name in imports(REPOSITORY / "gumbel" / "__init__.py") if not name.startswith("typing.")}
    assert names
    assert all(f"{name}.".startswith("gumbel.functional.") for name in names)


def test_only_detection_and_what_examines_it_import_openmmlab():
    users = {layer(path) for path in MODULES if OPENMMLAB & {name.partition(".")[0] for name in imports(path)}}
    assert users == {"detection", "preflight"}


def test_the_mathematics_needs_torch_and_the_standard_library_alone():
    names = {name.partition(".")[0] for name in imports(REPOSITORY / "gumbel" / "functional.py")}
    assert names - sys.stdlib_module_names == {"torch"}


def test_code_files_have_at_most_400_lines():
    files = tracked("gumbel/*.py", "workflow/*", "benchmarks/*.py", "configs/*.py", "Snakefile", "Makefile")
    lengths = {path.relative_to(REPOSITORY): len(path.read_text().splitlines()) for path in files}
    assert not {str(path): lines for path, lines in lengths.items() if lines > 400}


def test_no_file_names_a_folder_of_somebodys_machine():
    places = re.compile("|".join([r"/ho" + r"me/\w", r"/ro" + r"ot/", r"/wo" + r"rk/", r"/Us" + r"ers/\w"]))
    found = []
    for path in tracked():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:  # a picture
            continue
        found += [f"{path.name}:{number}" for number, line in enumerate(lines, 1) if places.search(line)]
    assert not found
