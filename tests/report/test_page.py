"""The page: self-contained, escaped, and honest about what it shows."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import status
from gumbel.paths import REPOSITORY, ExperimentPaths
from gumbel.report.page.render import render
from gumbel.report.page.sections.deviations import _cells_in_words, deviations
from gumbel.report.page.sections.provenance import commit, facts
from gumbel.report.summary.collect import collect
from tests.report import fixtures

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Outline(HTMLParser):
    """Text, tags and attributes of a page; raises on tags that do not nest."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script", "title", "desc"):
            self.text += data


def page(experiment: Experiment) -> str:
    """Collect and render in the working directory."""
    collect(experiment).to_parquet(ExperimentPaths(experiment.name).summary)
    render(experiment, Path("reports/summary.html"))
    return Path("reports/summary.html").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("complete")
    fixtures.build(root, fixtures.make_experiment())
    return root


@pytest.fixture(scope="module")
def complete(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return page(fixtures.make_experiment())


def test_the_page_loads_nothing_and_runs_its_own_script_alone(complete: str) -> None:
    outline = Outline(complete)
    scripts = [attributes for tag, attributes in outline.tags if tag == "script"]
    assert [script.get("type") for script in scripts] == ["application/json", None]
    own = re.search(r"<script>(.*?)</script>", complete, re.DOTALL)
    assert own is not None
    digest = base64.b64encode(hashlib.sha256(own[1].encode()).digest()).decode()
    policy = next(a["content"] for tag, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" == policy
    for tag, attributes in outline.tags:
        assert tag not in ("iframe", "object", "embed")
        assert not any(name.startswith("on") for name in attributes)
        source = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        assert source is None or source.startswith("data:")
    assert "url(" not in complete
    assert "@import" not in complete


def test_ids_are_unique_and_every_link_within_the_page_has_a_target(complete: str) -> None:
    tags = Outline(complete).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(a.get("href"))[1:] for tag, a in tags if tag == "a" and str(a.get("href")).startswith("#")}
    assert links <= set(ids)


def test_the_page_of_fifteen_cells_opens_in_snakemake_s_report(complete: str) -> None:
    """Chromium leaves a frame blank whose data URL, a third longer than the page, is above 2 MiB."""
    assert len(complete.encode()) < 1_500_000


def test_the_first_line_of_mini_says_that_it_does_not_reproduce_the_paper(complete: str) -> None:
    first = Outline(complete).text.split("</title>")[-1].strip().splitlines()
    lines = [line for line in first if line.strip()]
    assert lines[0] == "Skip to the claims"  # seen with the keyboard alone
    assert "does not reproduce the paper" in lines[1]


def test_one_training_each_has_no_verdict_in_the_first_heading(complete: str) -> None:
    heading = re.search("<h1>(.*?)</h1>", complete)
    assert heading is not None
    said = r"too few trainings for a verdict in 5 of 5 models \([+−][\d.]+ to [+−][\d.]+ points\)"
    assert re.fullmatch(f"<span>Rare AP: {said}</span> <span>AP: {said}</span> ", heading[1])
    assert "a difference has no verdict: another training may reverse it" in complete


def test_ap_is_drawn_over_training_up_to_the_ap_of_the_matrix(complete: str, folder: Path) -> None:
    metrics = ExperimentPaths("fake").cell("htc_r101", "gumbel", 0)
    points = [(40, metrics.at(40)), (70, metrics.at(70)), (100, metrics)]
    values = [
        (percent, json.loads((folder / paths.metrics("val", "matched")).read_text())["segm"]["AP"])
        for percent, paths in points
    ]
    assert "gumbel " + ", ".join(f"{100 * value:.1f} at {percent} %" for percent, value in values) in complete


def test_without_snapshots_the_page_says_how_to_get_ap_over_training(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], snapshots=[])
    fixtures.build(tmp_path, experiment)
    assert "set <code>snapshots</code> in the experiment" in page(experiment)


def test_hostile_names_and_files_stay_text(complete: str) -> None:
    assert "<b>lamp" not in complete
    assert "&lt;b&gt;lamp" in complete
    assert "<script>alert" not in complete
    assert "&lt;script&gt;alert" in complete


def test_every_section_is_there_in_order(complete: str) -> None:
    sections = re.findall(r'<section id="(\w+)">', complete)
    assert sections == [
        "answer", "claims", "figure", "matrix", "norms", "distribution", "activation", "categories", "training",
        "pictures", "errors", "deviations", "provenance", "rerun",
    ]  # fmt: skip


def test_every_figure_and_picture_has_words(complete: str) -> None:
    assert complete.count("<svg") > 0
    figures = re.findall(r'<svg xmlns[^>]* role="img"[^>]*><title>[^<]+</title><desc>[^<]+</desc>', complete)
    answer, results, norms, distribution, activation, training, detections, curves = (
        4,
        6,
        2 * 5 + 2 * 4,
        5,
        5,
        4 * 5,
        3 * 5,
        4,
    )
    assert len(figures) == answer + results + norms + distribution + activation + training + detections + curves
    assert all(attributes.get("alt") for tag, attributes in Outline(complete).tags if tag == "img")


def test_no_placeholder_colour_is_left(complete: str) -> None:
    assert not re.search(r"#0([1-9a-f])(0\1){2}", complete)


def test_every_cell_shows_its_figures_in_the_matrix(complete: str, folder: Path) -> None:
    table = re.search(r'aria-label="Matrix of results">(.*?)</table>', complete, re.DOTALL)
    assert table is not None
    exported = pd.read_csv(folder / "reports/fake/exports/matrix.csv")
    assert len(exported) == 20
    shown = re.findall(r'<td class="number[^"]*" title="AP × 100, val, n=1[^"]*">([\d.–]+)<', table.group(1))
    columns = ["AP", "AP50", "APr", "APc", "APf", "box AP"]
    assert shown == [f"{value:.1f}" for value in exported[columns].to_numpy().ravel()]


def test_mini_shows_no_difference_from_the_paper_in_the_matrix(complete: str) -> None:
    assert "signed difference" not in complete
    assert "not comparable with the numbers above" in complete


def test_the_same_experiment_gives_the_same_page(complete: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert page(fixtures.make_experiment()) == complete


def test_a_reproduction_shows_signed_differences(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    text = page(fixtures.make_experiment(reproduction=True, dataset="lvis_v1", architectures=["mask_rcnn_r50"]))
    assert "follows the paper’s recipe" in text
    assert "signed difference" in text
    exported = pd.read_csv("reports/fake/exports/matrix.csv").iloc[0]
    difference = f"{exported['AP'] - exported['AP (paper)']:+.1f}".replace("-", "−")
    assert f"<small>{exported['AP (paper)']:.1f} <b>{difference}</b></small>" in text


def test_failed_and_missing_cells_show_their_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment, categories=9)
    monkeypatch.chdir(tmp_path)
    softmax, sigmoid, _ = matrix.cells(experiment)
    for cell in (softmax, sigmoid):
        for path in cell.paths(experiment).root.glob("metrics/*/*"):
            path.unlink()
    status.write(softmax.paths(experiment).status, status.Status(state="failed", message="Out of memory <&>"))
    sigmoid.paths(experiment).status.unlink()
    text = page(experiment)
    assert text.count(">failed: Out of memory &lt;&amp;&gt;") == 1
    assert "missing: not started" in text
    assert re.search(r">1 of 3 cells</a> done, 1 failed;", text)
    assert text.count("M-R50 Softmax, seed 0; M-R50 Sigmoid, seed 0 (") == 6
    Outline(text)


def test_a_page_of_nothing_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment()
    fixtures.write_recipe(tmp_path, experiment)
    text = page(experiment)
    assert text.count(">missing: not started") == 15
    Outline(text)


def test_several_seeds_are_averaged_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], seeds=[0, 1, 2])
    fixtures.build(tmp_path, experiment, categories=9)
    monkeypatch.chdir(tmp_path)
    text = page(experiment)
    table = collect(experiment)
    scores = table[(table["metric"] == "AP") & (table["iou_type"] == "segm") & (table["split"] == "val")]
    gumbel = scores[(scores["activation"] == "gumbel") & (scores["source"] == "evaluation")]["value"]
    mean = table[(table["source"] == "mean") & (table["activation"] == "gumbel") & (table["iou_type"] == "segm")]
    low, high = 100 * mean[mean["metric"] == "AP"][["low", "high"]].iloc[0]
    number = (
        rf'title="AP × 100, val, n=3, [\d.]+ to [\d.]+, 95 % interval {low:.1f}–{high:.1f}">{100 * gumbel.mean():.1f}<'
    )
    assert re.search(number, text)
    assert "too few trainings" not in text


def test_a_training_on_eight_devices_counts_eightfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], activations=["softmax"], seeds=[0, 1])
    fixtures.build(tmp_path, experiment, categories=9)
    monkeypatch.chdir(tmp_path)
    for cell in matrix.cells(experiment):
        path = cell.paths(experiment).manifest
        record = json.loads(path.read_text()) | {
            "seconds": 9000.0,
            "world_size": 8,
            "device": "cuda:0",
            "gpu": "A<100>",
        }
        path.write_text(json.dumps(record))
    text = page(experiment)
    assert ">GPU time</th>" in text
    assert "40 h 00 min</td>" in text
    assert "<small>8 × A&lt;100&gt;</small>" in text
    assert pd.read_csv("reports/fake/exports/matrix.csv")["device_hours"].tolist() == [40.0]


def test_the_costs_say_what_share_of_each_training_waited_for_data(complete: str) -> None:
    costs = complete[complete.index('<section id="provenance">') :]
    assert "Waited for data: 3 % of a training’s time." in costs
    assert costs.count('<td class="number">3 %</td>') == 15


def test_of_histories_that_do_not_say_it_the_wait_for_data_is_a_dash(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], activations=["gumbel"])
    fixtures.build(tmp_path, experiment, categories=9)
    history = ExperimentPaths(experiment.name).cell("mask_rcnn_r50", "gumbel", 0).history
    pd.read_parquet(history).drop(columns="waited").to_parquet(history)
    text = page(experiment)
    assert "Waited for data:" not in text
    costs = Outline(text[text.index('<section id="provenance">') : text.index('<section id="rerun">')]).text
    assert costs.count("–") == 1


def test_the_named_sources_are_files(complete: str, folder: Path) -> None:
    named = set(re.findall(r"<code>([^<]+)</code>", "".join(re.findall(r'class="note source">.*?</p>', complete))))
    assert len(named) > 8
    for pattern in named:
        root = folder if pattern.startswith(("results", "data")) else REPOSITORY
        assert list(root.glob(re.sub("&lt;.*?&gt;", "*", pattern))), pattern


def test_a_page_is_rerun_at_the_commit_of_all_trainings_or_at_none_that_is_named() -> None:
    assert commit([{"commit": "a1"}, {"commit": "a1"}]) == "a1"
    assert [commit(pair) for pair in ([], [{"commit": "a1"}, {"commit": "b2"}], [{"commit": "a1-dirty"}], [{}])] == [
        None
    ] * 4


def test_what_the_trainings_ran_with_is_counted_where_it_differs() -> None:
    old = {
        "commit": "a1",
        "gpu": None,
        "versions": {"torch": "2.12", "lvis": None},
        "data_sha256": {"train.json": "ab"},
    }
    new = old | {"versions": {"torch": "2.13", "lvis": None}}
    assert facts([old, new, new]) == [
        ("Commit", [("a1", 3)]),
        ("torch", [("2.13", 2), ("2.12", 1)]),
        ("SHA-256 of train.json", [("ab", 3)]),
    ]


def test_render_without_a_summary_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m gumbel collect"):
        render(fixtures.make_experiment(), Path("reports/summary.html"))


def test_deviations_are_listed_with_their_cells_and_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment()
    with pytest.raises(FileNotFoundError, match="python -m gumbel configs"):
        deviations(experiment, [])
    fixtures.write_recipe(tmp_path, experiment)
    data, batch, seeds = deviations(experiment, [])
    assert (data.label, data.paper, data.ours) == ("Data", "lvis_v1", "mini")
    assert (data.cells, data.reason) == ("all", "small on purpose")
    assert (batch.cells, batch.reason) == ("Sigmoid", "no reason is named")
    assert (seeds.label, seeds.paper) == ("Seeds", "unpublished")


def test_cells_that_differ_are_named_by_what_is_shorter() -> None:
    experiment = fixtures.make_experiment()
    every = [(one, two) for one in experiment.architectures for two in experiment.activations]
    named = {
        "all": every,
        "Gumbel": [cell for cell in every if cell[1] == "gumbel"],
        "all but M-X101 Softmax": [cell for cell in every if cell != ("mask_rcnn_x101", "softmax")],
        "M-R50 Softmax; H-R101 Gumbel": [every[0], every[-1]],
    }
    assert {words: _cells_in_words(experiment, cells) for words, cells in named.items()} == {key: key for key in named}


def test_deviations_that_only_runs_tell_are_read_from_their_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment()
    fixtures.write_recipe(tmp_path, experiment)
    same = {"batch_size": 16, "device": "cuda:0", "versions": {"torch": "1.7.1", "mmdet": "2.21.0"}}
    newer = same | {"versions": {"torch": "2.13.0", "mmdet": "2.21.0"}}
    known = {"Data", "Batch size", "Seeds"}
    assert {row.label for row in deviations(experiment, [same])} == known
    rows = {row.label: row for row in deviations(experiment, [same, newer])}
    assert set(rows) == known | {"PyTorch"}
    assert (rows["PyTorch"].ours, rows["PyTorch"].cells) == ("2.13.0", "1 of 2 runs")


def test_weights_trained_elsewhere_are_shown_as_such_and_nothing_of_their_training_is_invented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment)
    given = ExperimentPaths(experiment.name).cell("mask_rcnn_r50", "gumbel", 0)
    record = json.loads(given.manifest.read_text())
    for key in ("seconds", "iterations", "batch_size", "learning_rate", "optimizer", "device", "seed", "data_sha256"):
        del record[key]
    origin = {"path": "weights/gumbel.pth", "sha256": "ef" * 32, "mmdet_version": "2.21.0"}
    given.manifest.write_text(json.dumps(record | {"converted_from": origin}))
    pd.DataFrame({"iteration": [], "loss": [], "seconds": []}).to_parquet(given.history)
    text = " ".join(Outline(page(experiment)).text.split())
    assert "not trained here: weights from weights/gumbel.pth" in text
    assert "mmdet 2.21.0" in text
    summary = collect(experiment)
    cells = summary[summary["source"] == "cell"].set_index("activation")["state"]
    assert (cells == "done").all()
    told = summary[(summary["source"] == "manifest") & (summary["activation"] == "gumbel")]
    assert told.set_index("metric")["text"]["converted_from"] == "weights/gumbel.pth"
    assert "seconds" not in set(told["metric"])


def test_activations_that_no_code_names_stand_in_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = ["eqlv2", "parametric", "seesaw", "mirrored_gumbel"]
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], activations=chosen, released_scoring=[])
    fixtures.build(tmp_path, experiment, categories=9)
    text = page(experiment)
    Outline(text)
    assert "Not drawn: EQLv2, Seesaw, trained by mmdet’s own modules." in text
    assert "<h3>Mirrored Gumbel gains most over EQLv2</h3>" in text
    assert '<path class="series-4"' in text
    for section in re.findall(
        r'<section id="(?:matrix|norms|categories|training|errors)">.*?</section>', text, re.DOTALL
    ):
        assert "Seesaw" in section


def test_two_experiments_have_pages_and_exports_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = (
        fixtures.make_experiment(name=name, architectures=["mask_rcnn_r50"], activations=["gumbel"])
        for name in ("one", "other")
    )
    for experiment in (one, other):
        fixtures.build(tmp_path, experiment, categories=9)
    page(one)
    assert "Other experiments" not in Path("reports/one/summary.html").read_text()
    first = contents(tmp_path / "reports/one")
    text = page(other)
    assert contents(tmp_path / "reports/one") == first
    assert names(tmp_path / "reports/one") == names(tmp_path / "reports/other")
    assert '<a href="one/summary.html">one</a>' in text
    assert '<a href="../one/summary.html">one</a>' in Path("reports/other/summary.html").read_text()
    again = page(one)
    assert "<b>one</b>" in again
    assert '<a href="other/summary.html">other</a>' in again
    # Of one's exports, the page's own links have changed alone
    assert {name: text for name, text in contents(tmp_path / "reports/one").items() if name != "summary.html"} == {
        name: text for name, text in first.items() if name != "summary.html"
    }


def test_every_link_to_a_file_leads_to_one_wherever_the_page_lies(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, output in (("other", "reports/summary.html"), ("one", "elsewhere/deep/page.html")):
        experiment = fixtures.make_experiment(name=name, architectures=["mask_rcnn_r50"], activations=["gumbel"])
        fixtures.build(tmp_path, experiment, categories=9)
        collect(experiment).to_parquet(ExperimentPaths(name).summary)
        render(experiment, Path(output))
        for copy in (Path(output), ExperimentPaths(name).report):
            tags = Outline(copy.read_text()).tags
            links = [str(attributes["href"]) for tag, attributes in tags if tag == "a"]
            files = [link for link in links if not link.startswith(("#", "data:", "https:"))]
            assert any(link.endswith("exports/figures/distribution-rare.pdf") for link in files)
            assert all((copy.parent / link).is_file() for link in files)


def test_what_an_earlier_report_left_among_the_exports_is_removed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], activations=["gumbel"])
    fixtures.build(tmp_path, experiment, categories=9)
    stale = tmp_path / "reports/fake/exports/figures/training-loss-h-r101.svg"
    stale.parent.mkdir(parents=True)
    stale.touch()
    page(experiment)
    assert not stale.exists()
    assert (stale.parent / "training-loss-m-r50.svg").exists()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name; PDFs, which are never written alike twice, by their first bytes."""
    return {
        name: (folder / name).read_bytes()[: 4 if name.endswith(".pdf") else None] for name in sorted(names(folder))
    }
