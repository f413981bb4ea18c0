"""One set of pins: what is asked for, what is pinned, and what runs are the same."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from gumbel.jobs import manifest
from gumbel.paths import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
CONDA = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
MAKEFILE = (REPOSITORY / "Makefile").read_text()
LINES = [
    line for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")
]
PINS = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LINES)}
EXTRAS = PROJECT["project"]["optional-dependencies"]
#: Asked for by a package's metadata and left out on purpose.
REPLACED = {
    "opencv-python": "needs a display; opencv-python-headless is the same module",
    "cython": "lvis asks for it and uses none",
}


def test_every_requirement_is_pinned_exactly_and_once():
    names = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line)[1] for line in LINES]
    assert len(set(map(canonicalize_name, names))) == len(names)


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_every_dependency_is_pinned_at_a_version_that_the_project_admits(extra):
    for line in EXTRAS[extra] if extra else PROJECT["project"]["dependencies"]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["project"]["name"]:
            assert requirement.extras <= set(EXTRAS)
        else:
            assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), line


def test_the_interpreter_runs_the_pinned_versions():
    running = {name: importlib.metadata.version(name).partition("+")[0] for name in PINS}
    assert {name: version for name, version in running.items() if Version(version) != Version(PINS[name])} == {}


def test_what_the_pinned_packages_need_is_pinned_too_because_pip_is_told_not_to_look():
    missing = set()
    # torch's own needs differ between its CPU and CUDA builds, and are installed with it
    for name in set(PINS) - {"torch"}:
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                missing |= {canonicalize_name(requirement.name)} - set(PINS) - set(REPLACED)
    assert not missing


def test_every_package_of_a_manifest_is_pinned():
    assert set(map(canonicalize_name, manifest.PACKAGES)) <= set(PINS)


def test_conda_make_and_the_project_agree_on_python():
    (conda,) = (entry.partition("=")[2] for entry in CONDA["dependencies"] if entry.startswith("python="))
    (make,) = re.findall(r"^PYTHON \?= python(.+)$", MAKEFILE, re.MULTILINE)
    tools = PROJECT["tool"]
    asked = {conda, make, tools["mypy"]["python_version"], tools["ruff"]["target-version"].replace("py3", "3.")}
    assert asked == {"3.11"} == {".".join(map(str, sys.version_info[:2]))}
    assert f"sys.version_info[:2] != ({make.replace('.', ', ')})" in MAKEFILE
    assert Requirement(f"python{PROJECT['project']['requires-python']}").specifier.contains(conda)


def test_conda_brings_tools_and_no_second_set_of_pins():
    names = {re.split("[=<>]", entry)[0] for entry in CONDA["dependencies"]}
    assert not names & set(PINS)
    assert names == {"python", "pip", "cxx-compiler", "make", "util-linux"}


def test_the_workflow_and_a_newcomer_use_the_same_conda_environment():
    assert 'ENVIRONMENT = str(paths.REPOSITORY / "environment.yml")' in (REPOSITORY / "Snakefile").read_text()
    assert f"conda activate {CONDA['name']}" in (REPOSITORY / "README.md").read_text()


def prerequisites(python: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = None if path is None else {"PATH": path}
    command = [shutil.which("make"), "prerequisites", f"PYTHON={python}", "VENV=/nonexistent"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment, check=False)


def test_a_missing_python_is_named_with_how_to_get_it_before_anything_starts():
    run = prerequisites("/nonexistent")
    assert run.returncode != 0
    assert "missing: Python 3.11 (/nonexistent)\n  get it: Debian 12: apt-get install python3.11" in run.stdout


def test_every_missing_tool_is_named_at_once_with_how_to_get_it(tmp_path):
    run = prerequisites("/nonexistent", path=str(tmp_path))
    assert run.returncode != 0
    missing = re.findall(r"missing: (.*)\n  get it: Debian", run.stdout)
    assert [name.partition(" (")[0] for name in missing] == ["Python 3.11", "a C++ compiler", "flock"]


def test_nothing_is_missing_where_these_tests_run():
    run = prerequisites(sys.executable)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("target", ["demo", "test", "check", "install"])
def test_every_target_asks_for_the_prerequisites_first(target, tmp_path):
    command = ["make", "--dry-run", target, f"VENV={tmp_path}"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout.index("missing:") < run.stdout.index("pip install")


def installing(tmp_path, *settings: str) -> str:
    """What ``make install`` would run."""
    command = ["make", "--dry-run", "install", f"VENV={tmp_path}", *settings]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


def test_another_build_of_torch_comes_from_the_index_that_make_is_given(tmp_path):
    """And what was compiled against another build is not taken from pip's cache."""
    plain, other = installing(tmp_path), installing(tmp_path, "TORCH_INDEX=https://wheels.example/cu126")
    assert "index-url" not in plain
    assert "--no-cache-dir" not in plain
    (torch_line,) = (line for line in other.splitlines() if " torch setuptools" in line)
    assert "--constraint requirements.txt --extra-index-url https://wheels.example/cu126 torch" in torch_line
    assert re.search(r"--no-deps --no-cache-dir .*mmcv==", other.replace("\\\n", " "))


def test_pip_prefers_a_build_to_the_release_of_the_same_version(tmp_path):
    """An index with torch's release and one with a build of it, each an empty wheel."""
    for index, version in (("release", PINS["torch"]), ("build", f"{PINS['torch']}+cu126")):
        folder = tmp_path / index / "torch"
        folder.mkdir(parents=True)
        wheel = folder / f"torch-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            about = f"torch-{version}.dist-info"
            archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        (folder / "index.html").write_text(f'<a href="{wheel.name.replace("+", "%2B")}">{wheel.name}</a>')
    indices = ["--index-url", (tmp_path / "release").as_uri(), "--extra-index-url", (tmp_path / "build").as_uri()]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(tmp_path / "got")]
    constraint = ["--constraint", str(REPOSITORY / "requirements.txt")]
    subprocess.run([*command, *constraint, *indices, "torch"], check=True)
    assert [path.name for path in (tmp_path / "got").iterdir()] == [f"torch-{PINS['torch']}+cu126-py3-none-any.whl"]


#: Stands in for the environment's Python: notes what it is asked for.
RECORDER = """\
#!/bin/sh
for each in "$@"; do printf '%s|' "$each" >> "$LOG"; done
echo >> "$LOG"
"""


@pytest.mark.parametrize("environment", [".venv", "the environment's own  place"])
def test_make_installs_in_folders_of_any_name(tmp_path, environment):
    checkout = tmp_path / "someone's größte  Daten"
    (checkout / environment / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, checkout)
    python = checkout / environment / "bin" / "python"
    python.write_text(RECORDER)
    python.chmod(0o755)
    command = ["make", "install", f"VENV={environment}", f"PYTHON={sys.executable}", "CXX=true"]
    log = tmp_path / "log"

    def installed() -> str:
        run = subprocess.run(
            command, cwd=checkout, env={**os.environ, "LOG": str(log)}, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    assert "3/3" in installed()
    asked = log.read_text().splitlines()
    assert next(line for line in asked if line.startswith("-m|pip|install")).endswith(
        "|torch|setuptools|wheel|ninja|psutil|numpy|"
    )
    assert f"|mmcv=={PINS['mmcv']}|" in "".join(asked)
    assert asked[-1] == "-m|gumbel.evaluation.compiled|"
    assert "3/3" not in installed()
    assert log.read_text().splitlines() == asked
    assert {path.name for path in checkout.iterdir()} == {"Makefile", "requirements.txt", "pyproject.toml", environment}
