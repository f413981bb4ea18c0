"""Exports say the same as the page, in forms that other tools accept."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml

from gumbel.paths import REPOSITORY, ExperimentPaths
from gumbel.report.exports import write as exports
from gumbel.report.page.render import render
from gumbel.report.summary.collect import collect
from tests.report import fixtures

SCHEMA = json.loads((REPOSITORY / "reports/results.schema.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of an experiment whose second activation is missing."""
    root = tmp_path_factory.mktemp("exports")
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50", "cascade_r101"])
    fixtures.build(root, experiment, categories=9)
    shutil.rmtree(root / "results/fake/cascade_r101/sigmoid")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        collect(experiment).to_parquet(ExperimentPaths("fake").summary)
        render(experiment, Path("reports/summary.html"))
    return root / "reports/fake/exports"


def test_the_json_follows_its_schema(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads((folder / "results.json").read_text()), SCHEMA)


def test_the_schema_refuses_what_it_does_not_know(folder: Path) -> None:
    record = json.loads((folder / "results.json").read_text())
    record["claims"][0]["verdict"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, SCHEMA)


def test_json_and_csv_hold_the_same_numbers(folder: Path) -> None:
    record = json.loads((folder / "results.json").read_text())
    matrix = pd.read_csv(folder / "matrix.csv")
    assert pd.DataFrame(record["matrix"])["AP"].tolist() == pytest.approx(matrix["AP"].tolist(), nan_ok=True)
    categories = pd.DataFrame(record["categories"]["data"], columns=record["categories"]["columns"])
    pd.testing.assert_frame_equal(categories, pd.read_csv(folder / "categories.csv"), check_dtype=False)


def test_categories_hold_what_the_evaluation_wrote(folder: Path) -> None:
    wide = pd.read_csv(folder / "categories.csv").set_index("category_id")
    cell = folder.parents[2] / "results/fake/cascade_r101/gumbel/seed0"
    table = pd.read_parquet(cell / "metrics/val/matched.per_category.parquet").query("iou_type == 'segm'")
    expected = 100 * table.set_index("category_id")["AP"]
    assert wide["AP cascade_r101 gumbel"].tolist() == pytest.approx(expected.tolist(), abs=5e-5, nan_ok=True)
    norms = pd.read_parquet(cell / "weight_norms.parquet").query("stage == 2").set_index("category_id")["norm"]
    assert wide["norm cascade_r101 gumbel"].tolist() == pytest.approx(norms.tolist(), abs=5e-5)
    assert "AP cascade_r101 sigmoid" not in wide


def test_every_figure_is_there_as_svg_and_pdf(folder: Path) -> None:
    drawings = sorted((folder / "figures").glob("*.svg"))
    assert len(drawings) > 20
    for drawing in drawings:
        assert "var(" not in drawing.read_text()
        assert drawing.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_macros_have_letters_alone_and_are_defined_once(folder: Path) -> None:
    names = re.findall(r"\\newcommand\{\\([^}]*)\}", (folder / "numbers.tex").read_text())
    assert names
    assert all(re.fullmatch("[A-Za-z]+", name) for name in names)
    assert len(names) == len(set(names))


def test_a_macro_is_the_number_of_the_matrix(folder: Path) -> None:
    matrix = pd.read_csv(folder / "matrix.csv").set_index(["architecture", "activation", "scoring"])
    value = matrix.loc[("mask_rcnn_r50", "gumbel", "matched"), "APr"]
    assert f"{{\\MaskRcnnRFiveZeroGumbelAPr}}{{{value:.1f}}}" in (folder / "numbers.tex").read_text()
    paper = matrix.loc[("mask_rcnn_r50", "sigmoid", "released"), "AP (paper)"]
    assert f"{{\\MaskRcnnRFiveZeroSigmoidReleasedAPPaper}}{{{paper:.1f}}}" in (folder / "numbers.tex").read_text()


def test_latex_compiles(folder: Path, tmp_path: Path) -> None:
    latex = shutil.which("pdflatex")
    if latex is None:
        pytest.skip("no pdflatex is installed (Debian's packages texlive-latex-base, texlive-latex-recommended)")
    name = re.findall(r"\\newcommand\{\\([^}]*)\}", (folder / "numbers.tex").read_text())[0]
    document = (
        "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
        f"\\input{{numbers}}\\begin{{document}}\\input{{tables}}\\{name}\\end{{document}}"
    )
    for file in ("numbers.tex", "tables.tex"):
        shutil.copy(folder / file, tmp_path)
    (tmp_path / "main.tex").write_text(document)
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull" not in run.stdout
    assert "too large for page" not in run.stdout


@pytest.mark.parametrize("file", ["claims.csv", "results.json", "tables.tex", "report.md"])
def test_every_export_of_the_claims_says_what_they_need(folder: Path, file: str) -> None:
    assert "data and recipe, which this run does not have" in (folder / file).read_text()


@pytest.mark.parametrize("text", ["50% of a_b & c#d", "{\\input x}$", "~^"])
def test_latex_specials_are_escaped(text: str) -> None:
    plain = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\[&%$#_{}]", "", exports.latex(text))
    assert not set(plain) & set("&%$#_{}\\~^")


def test_markdown_shows_hostile_names_as_text() -> None:
    assert exports._cell("a|b <b>*c*</b>\n# d") == r"a\|b \<b\>\*c\*\</b\> \# d"


def test_markdown_tables_have_as_many_columns_as_headings(folder: Path) -> None:
    lines = [line for line in (folder / "report.md").read_text().splitlines() if line.startswith("|")]
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) in (5, 9)


def test_the_metafile_names_every_evaluated_model_once(folder: Path) -> None:
    record = yaml.safe_load((folder / "metafile.yml").read_text())
    names = [model["Name"] for model in record["Models"]]
    assert len(names) == len(set(names)) == 2 * 4 - 2
    assert all((folder.parents[2] / model["Config"]).exists() for model in record["Models"])
    collections = {collection["Name"] for collection in record["Collections"]}
    assert all(model["In Collection"] in collections for model in record["Models"])


def test_the_crate_lists_every_file_and_nothing_else(folder: Path) -> None:
    crate = json.loads((folder / "ro-crate-metadata.json").read_text())
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"ro-crate-metadata.json"}
    assert {part["@id"] for part in entities["./"]["hasPart"]} == files
    assert {name for name, entity in entities.items() if entity["@type"] == "File"} == files


def test_the_crate_refers_to_nothing_that_it_does_not_describe(folder: Path) -> None:
    crate = json.loads((folder / "ro-crate-metadata.json").read_text())
    known = {entity["@id"] for entity in crate["@graph"]}
    actions = [entity for entity in crate["@graph"] if entity["@type"] == "CreateAction"]
    assert len(actions) == 5
    for action in actions:
        named = [*action["instrument"], *action["object"], *action["result"], action["agent"]]
        assert {one["@id"] for one in named} <= known


def test_the_crate_names_what_each_training_read_and_wrote(folder: Path) -> None:
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    action = entities["#mask_rcnn_r50-gumbel-seed0"]
    assert [one["@id"] for one in action["object"]] == ["cells/mask_rcnn_r50-gumbel-seed0.py", f"#sha256-{'cd' * 32}"]
    assert [one["@id"] for one in action["result"]][1] == "cells/mask_rcnn_r50-gumbel-seed0.json"
    assert entities[entities["./"]["license"]["@id"]]["@type"] == "CreativeWork"
    assert entities[entities["./"]["author"]["@id"]]["name"]


def test_every_training_s_configuration_and_record_are_beside_the_page(folder: Path) -> None:
    cell = folder.parents[2] / "results/fake/mask_rcnn_r50/gumbel/seed0"
    assert (folder / "cells/mask_rcnn_r50-gumbel-seed0.py").read_text() == (cell / "config.py").read_text()
    record = json.loads((folder / "cells/mask_rcnn_r50-gumbel-seed0.json").read_text())
    assert record == json.loads((cell / "train/manifest.json").read_text())


def test_the_caveat_stands_in_every_export_for_readers(folder: Path) -> None:
    for name in ("tables.tex", "report.md"):
        text = " ".join((folder / name).read_text().split())
        assert "This page demonstrates the pipeline on generated pictures." in text


def test_the_table_of_results_has_its_intervals(folder: Path) -> None:
    matrix = pd.read_csv(folder / "matrix.csv").set_index(["architecture", "activation", "scoring"])
    row = matrix.loc[("mask_rcnn_r50", "gumbel", "matched")]
    assert f"{{\\tiny {row['AP (low)']:.1f}--{row['AP (high)']:.1f}}}" in (folder / "tables.tex").read_text()
