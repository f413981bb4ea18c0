"""A headless Chromium without network, and pages of invented experiments to open in it."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import status
from gumbel.jobs.files import write_json
from gumbel.monitor.page import write_page
from gumbel.paths import ExperimentPaths
from gumbel.report.page.render import render
from gumbel.report.summary.collect import collect
from tests.report import fixtures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `browser`)")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian's package `chromium`)")
    with playwright.sync_playwright() as engine:
        # --no-sandbox: as root, as in a container, Chromium refuses to start with it
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a file, with options of the browser's context; ends with no console message, error or request seen."""
    contexts, problems = [], []

    def open_one(path: Path, **options: Any) -> Any:
        context = browser.new_context(offline=True, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
        page.goto(path.as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a kind of experiment, rendered once."""
    rendered: dict[str, Path] = {}

    def page(kind: str) -> Path:
        if kind not in rendered:
            rendered[kind] = _render(tmp_path_factory.mktemp(kind), kind)
        return rendered[kind]

    return page


def _render(root: Path, kind: str) -> Path:
    one = {"architectures": ["mask_rcnn_r50"]}
    experiment = {
        "complete": lambda: fixtures.make_experiment(),
        "reproduction": lambda: fixtures.make_experiment(reproduction=True, dataset="lvis_v1", **one),
        "partial": lambda: fixtures.make_experiment(),
        "failed": lambda: fixtures.make_experiment(**one),
        "seeds": lambda: fixtures.make_experiment(seeds=[0, 1, 2, 3, 4], **one),
    }[kind]()
    fixtures.build(root, experiment, categories=1203 if kind == "complete" else 9)
    if kind in ("partial", "failed"):
        _damage(root, experiment, everything=kind == "failed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        collect(experiment).to_parquet(ExperimentPaths(experiment.name).summary)
        render(experiment, Path("reports/summary.html"))
    return root / "reports/summary.html"


def _damage(root: Path, experiment: Experiment, everything: bool) -> None:
    """Let all trainings fail with a hostile message, or the first fail and leave the second architecture missing."""
    for number, cell in enumerate(matrix.cells(experiment)):
        if not (everything or number in (0, 3, 4, 5)):
            continue
        shutil.rmtree(root / cell.paths(experiment).root)
        if everything or number == 0:
            message = "Out of memory </td></table><script>alert(1)</script><img src=x onerror=alert(2)>"
            status.write(root / cell.paths(experiment).status, status.Status(state="failed", message=message))


@pytest.fixture(scope="session")
def progress_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The progress of fifteen cells and their warm starts in every state, hostile words among them."""
    root = tmp_path_factory.mktemp("progress")
    experiment = fixtures.make_experiment()
    fixtures.build(root, experiment, categories=9)
    cells = [cell.paths(experiment) for cell in matrix.cells(experiment)]
    evil = "</details><script>alert(1)</script> " + "x" * 300
    words = {"running": "", "failed": f"RuntimeError: {evil}", "interrupted": "SIGTERM"}
    for paths, state in zip(cells[3:], ["running", "running", "failed", "failed", "interrupted"], strict=False):
        shutil.rmtree(root / paths.root / "train")
        half = {"iteration": 123, "iterations": 400, "loss": 1.5, "eta_seconds": 99.0, "updated": time.time()}
        write_json(root / paths.status, half | {"state": state, "message": words[state]})
    (root / cells[5].log("train")).parent.mkdir()
    (root / cells[5].log("train")).write_text(f"iteration 123\n{evil}\n")
    (root / cells[8].metrics("val", "matched")).unlink()
    (root / cells[9].weight_norms).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_page(experiment, refresh=15)
    return root / "reports/fake/progress.html"
