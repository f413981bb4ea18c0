"""A cell that arrives whole is as if trained here; of any other nothing is written, and what differs is named."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gumbel.commands import main
from gumbel.evaluation.predictions import PredictionWriter, read_predictions
from gumbel.exchange import archive
from gumbel.exchange.cell import Wanted
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest
from gumbel.paths import REPOSITORY, CellPaths, ExperimentPaths
from tests.exchange.conftest import CELL
from tests.report.fixtures import write_recipe

FOLDER = "results/tiny/{}/{}/seed{}".format(*CELL)
UNPACK = ["unpack", "../cell.tar.zst", "--experiment", "results/tiny/experiment.yaml"]


def pack(sender: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """As the sender types it."""
    with monkeypatch.context() as context:
        context.chdir(sender)
        main(["pack", FOLDER, "-o", "../cell.tar.zst", *options])


def forge(sender: Path, own: Experiment, weights: bool = True, **about: Any) -> None:
    """Pack whatever lies in the sender's folder, unchecked, as a stranger might."""
    wanted = Wanted(own, matrix.cell(own, *CELL))
    names = [*wanted.files, *(wanted.weights if weights else [])]
    index = dict(experiment="tiny", cell=str(wanted.cell), configuration=wanted.configuration) | about
    archive.write(sender.parent / "cell.tar.zst", sender / FOLDER, names, **index)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of an archive that is refused; the working folder is as before."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as ended:
        main(UNPACK)
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()} == before
    assert not list(Path().glob(".unpack-*"))
    assert "Traceback" not in capsys.readouterr().err
    return str(ended.value.code)


def planned(*arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "-n", "--cores", "1"]
    command += ["--rerun-triggers", "mtime", "params", "input", "--configfile", "results/tiny/experiment.yaml"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("weights", [True, False])
def test_a_cell_that_arrives_is_as_if_it_had_been_trained_here(
    weights, sender, receiver, experiment, paths, monkeypatch
):
    pack(sender, monkeypatch, *(["--weights"] if weights else []))
    main(UNPACK)
    sent = CellPaths(sender / paths.root)
    for each in (paths, paths.at(50)):
        assert each.checkpoint.exists() == weights
    assert paths.config.read_bytes() == sent.config.read_bytes()
    assert paths.history.read_bytes() == sent.history.read_bytes()
    for scoring in ("matched", "released"):
        told, made = (json.loads(each.metrics("val", scoring).read_text()) for each in (sent, paths))
        assert told == made
        assert made["segm"]["AP"] > 0
        assert paths.bootstrap("val", scoring).exists()
        assert paths.errors("val", scoring).exists()
    pd.testing.assert_frame_equal(pd.read_parquet(paths.weight_norms), pd.read_parquet(sent.weight_norms))
    assert manifest.read(paths.manifest).items() <= manifest.read(sent.manifest).items()

    files = [paths.config, paths.predictions("val", "matched"), paths.at(50).predictions("val", "matched")]
    # Of the training's own files, with weights: asked for these, Snakemake wants those too
    files += [
        path
        for path in matrix.evidence(experiment, matrix.cell(experiment, *CELL))
        if weights or "train" not in path.parts
    ]
    assert "Nothing to be done" in planned("--", *map(str, files))
    # Snakemake knows what the cell was made with, as of its own jobs
    assert re.search(r"^train +1$", planned("--config", "batch=8", "--", *map(str, files)), re.MULTILINE)

    write_recipe(receiver, experiment)
    for stage in ("collect", "report"):
        output = {"collect": "results/tiny/summary.parquet", "report": "reports/summary.html"}[stage]
        main([stage, "--experiment", "results/tiny/experiment.yaml", "--output", output])
    page = Path("reports/summary.html").read_text()
    words = "trained elsewhere, received " + manifest.now()[:10] + ("" if weights else " without weights")
    assert page.count(words) == 1
    # What was trained here since is not said to have come
    record = manifest.read(paths.manifest) | {"host": "here"}
    paths.manifest.write_text(json.dumps(record))
    main(["report", "--experiment", "results/tiny/experiment.yaml", "--output", "reports/summary.html"])
    assert "trained elsewhere" not in Path("reports/summary.html").read_text()


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_table(path: Path, column: str, value: object) -> None:
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path, index=False)


def better_figures(cell: CellPaths) -> None:
    record = json.loads(cell.metrics("val", "matched").read_text())
    record["segm"]["AP"] += 2e-6
    edit(cell.metrics("val", "matched"), **record)


def other_predictions(cell: CellPaths, **facts: str) -> None:
    path = cell.predictions("val", "matched")
    found = read_predictions(path)
    with PredictionWriter(path, found.metadata | facts) as writer:
        writer.write(
            int(found.image_id[0]),
            found.category_id[:1],
            found.score[:1],
            found.shapes.box[:1],
            found.shapes.take(np.arange(1)).masks(),
        )


def many_predictions(cell: CellPaths) -> None:
    path = cell.predictions("val", "matched")
    metadata, mask = read_predictions(path).metadata, {"size": [64, 64], "counts": b"022"}
    with PredictionWriter(path, metadata) as writer:
        writer.write(1, np.ones(121), np.ones(121), np.ones((121, 4)), [mask] * 121)  # 6 images, 20 each


class Marked:
    """What pickle calls when it reads such a file."""

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (Path("run"),)


def pickled_weights(cell: CellPaths) -> None:
    torch.save({"weight": Marked()}, cell.checkpoint)
    edit(cell.manifest, checkpoint_sha256=manifest.sha256(cell.checkpoint))


def plain_pickle(cell: CellPaths) -> None:
    torch.save({"weight": Marked()}, cell.checkpoint, _use_new_zipfile_serialization=False)
    edit(cell.manifest, checkpoint_sha256=manifest.sha256(cell.checkpoint))


def other_weights(cell: CellPaths) -> None:
    torch.save({"backbone.conv1.weight": torch.zeros(1).expand(10**9)}, cell.checkpoint)
    edit(cell.manifest, checkpoint_sha256=manifest.sha256(cell.checkpoint))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda cell: edit(cell.manifest, code=["gumbel/functional.py 01"]), r"code\.gumbel/functional\.py: expected"),
        (lambda cell: edit(cell.manifest, data_sha256={}), r"data_sha256\.data/mini/train\.json: expected"),
        (lambda cell: edit(cell.manifest, iterations=7), r"iterations: expected \d+, found 7"),
        (lambda cell: edit(cell.manifest, config_sha256="0" * 64), r"config_sha256: expected"),
        (lambda cell: edit(cell.manifest, seconds="<script>"), r"seconds: Input should be a valid number"),
        (lambda cell: edit(cell.manifest, seconds=float("inf")), r"seconds: Input should be a finite number"),
        (lambda cell: edit(cell.manifest, checkpoint_sha256="0" * 64), r"train/checkpoint\.pth: expected '0000"),
        (lambda cell: cell.manifest.write_text("[" * 10**5), "expected JSON in manifest.json"),
        (lambda cell: cell.manifest.write_text(" " * (archive.ALLOWED + 1)), r"expected at most [\d,]+ bytes"),
        (lambda cell: edit_table(cell.history, "loss", "a text"), r"numbers of each of \d+ iterations"),
        (lambda cell: edit_table(cell.history, "<script>", 1), r"numbers of each of \d+ iterations"),
        (lambda cell: edit_table(cell.history, "iteration", 1), r"numbers of each of \d+ iterations"),
        (lambda cell: cell.history.write_bytes(b"PAR1"), "expected a Parquet file in history.parquet"),
        (better_figures, r"segm\.AP: expected 0\.\d+, found 0\.\d+"),
        (other_predictions, r"segm\.AP: expected"),
        (lambda cell: other_predictions(cell, config_sha256="0"), r"config_sha256: expected"),
        (lambda cell: other_predictions(cell, annotations_sha256="0"), r"annotations_sha256: expected"),
        (lambda cell: other_predictions(cell, scoring="released"), r"scoring: expected 'matched', found 'released'"),
        (many_predictions, r"expected at most 120 rows and .* in matched.parquet, found 121"),
        (lambda cell: edit_table(cell.weight_norms, "norm", 1.0), "expected weight norms of .*, found others"),
        (pickled_weights, "found a damaged file or none of PyTorch"),
        (plain_pickle, "expected weights of PyTorch in checkpoint.pth, found others; nothing of them was run"),
        (other_weights, "expected .* entries of the cell's model|expected no more than its own size"),
    ],
)  # fmt: skip
def test_what_was_changed_on_the_way_is_named_and_nothing_is_taken_over(
    change, words, sender, receiver, experiment, paths, capsys
):
    change(CellPaths(sender / paths.root))
    forge(sender, experiment)
    assert re.search(words, refusal(capsys))
    assert not Path("run").exists()


def test_another_configuration_is_named_field_by_field(sender, receiver, experiment, capsys):
    wanted = Wanted(experiment, matrix.cell(experiment, *CELL))
    told = wanted.configuration
    told["optim_wrapper"]["optimizer"]["lr"] = 5.0
    told["model"]["\x1b[2J"] = 1
    del told["randomness"]
    forge(sender, experiment, configuration=told)
    said = refusal(capsys)
    assert len(said.splitlines()) == 1 + 3
    assert re.search(r"^  optim_wrapper\.optimizer\.lr: expected 0\.\d+, found 5\.0$", said, re.MULTILINE)
    assert re.search(r"^  randomness: expected \{.*\}, found 'nothing'$", said, re.MULTILINE)
    # A terminal shows a stranger's text and does not obey it
    assert r"model.\x1b[2J: expected 'nothing', found 1" in said


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (
            {"experiment": "lvis"},
            "of tiny in ../cell.tar.zst, found 'mask_rcnn_r50/sigmoid/seed0' of 'lvis'",
        ),
        ({"cell": "../../outside/seed0"}, "found '../../outside/seed0' of 'tiny'"),
    ],
)
def test_a_cell_that_the_experiment_does_not_have_is_refused(about, words, sender, receiver, experiment, capsys):
    forge(sender, experiment, **about)
    assert words in refusal(capsys)


def test_an_archive_of_other_files_is_refused(sender, receiver, experiment, capsys):
    wanted = Wanted(experiment, matrix.cell(experiment, *CELL))
    index = dict(experiment="tiny", cell=str(wanted.cell), configuration=wanted.configuration)
    archive.write(sender.parent / "cell.tar.zst", sender / FOLDER, [*wanted.files, "config.py"], **index)
    assert "found them but ['config.py']" in refusal(capsys)


def test_what_is_here_is_not_replaced_and_what_is_missing_here_is_asked_for(
    sender, receiver, experiment, paths, monkeypatch, capsys
):
    pack(sender, monkeypatch)
    lock = Path(".snakemake/locks/0.input.lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert "expected no Snakemake at work in this folder" in refusal(capsys)
    lock.unlink()
    warm_start = ExperimentPaths("tiny").warm_start(CELL[0]).checkpoint
    warm_start.rename("elsewhere")
    assert f"run `snakemake --configfile FILE -- {warm_start}`" in refusal(capsys)
    Path("elsewhere").rename(warm_start)
    paths.manifest.parent.mkdir(parents=True)
    paths.manifest.touch()
    assert f"found {paths.root}; to take over another, remove it" in refusal(capsys)


def test_only_a_finished_cell_that_would_be_trained_alike_here_is_packed(sender, paths, monkeypatch):
    monkeypatch.chdir(sender)

    def refused(folder: str = FOLDER) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["pack", folder, "-o", "cell.tar.zst"])
        assert not Path("cell.tar.zst").exists()
        return str(ended.value.code)

    assert "expected results/EXPERIMENT/ARCHITECTURE/ACTIVATION/seedK, found elsewhere" in refused("elsewhere")
    assert "expected a cell of experiment tiny" in refused("results/tiny/mask_rcnn_r50/softmax/seed0")
    edit(paths.manifest, batch_size=8)
    assert "batch_size: expected 4, found 8" in refused()
    paths.weight_norms.unlink()
    assert "found it without weight_norms.parquet" in refused()


@pytest.mark.parametrize("column", ["norm", "bias", "category_id", "name"])
def test_norms_without_weights_must_be_numbers_of_the_categories_that_lie_here(
    column, sender, receiver, experiment, paths, capsys
):
    edit_table(sender / paths.weight_norms, column, "<script>")
    forge(sender, experiment, weights=False)
    assert re.search(rf"expected weight norms of .*, found others: .*{column}", refusal(capsys), re.DOTALL)
