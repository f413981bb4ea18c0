"""Snakemake on this checkout, in a folder of the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gumbel.paths import REPOSITORY
from tests.detection.conftest import TINY

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def snakemake(tmp_path: Path) -> Run:
    """``snakemake(*arguments)`` in ``tmp_path``, whose exit status the caller looks at.

    Cores are not named: the default profile gives them, as it does to a user.
    """

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [*command, "--directory", str(folder), *arguments],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def experiment_file(tmp_path: Path) -> Callable[..., str]:
    """Write the tiny experiment with ``changes``; return the path."""

    def write(**changes: object) -> str:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return str(path)

    return write
