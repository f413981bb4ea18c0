"""The report's content for other tools: CSV, JSON, LaTeX, Markdown, model-index, figures, RO-Crate."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
import yaml

from gumbel.evaluation.metrics import SHOWN
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path, write_json
from gumbel.report.drawing.figures import Figure
from gumbel.report.exports.crate import crate
from gumbel.report.page.content import Content
from gumbel.report.page.results import Results
from gumbel.report.page.sections.categories import export_frame
from gumbel.report.page.sections.claims import Claims, claims_frame
from gumbel.report.page.sections.matrix import Matrix, MatrixRow, matrix_frame
from gumbel.words import activation_name, architecture_name

_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--",
    "×": r"$\times$", "’": "'", "≈": r"$\approx$", "⁻": "$^{-}$",
} | {superscript: f"$^{digit}$" for digit, superscript in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}  # fmt: skip
_DIGITS = ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]
_HEADINGS = ["Claim", "Model", "Evidence", "Verdict"]
_TABLE = r"""\begin{table}
\centering\scriptsize\setlength{\tabcolsep}{3pt}
\caption{%s}\label{tab:%s}
\begin{tabular}{%s}
\toprule
%s
\midrule
%s
\bottomrule
\end{tabular}
\end{table}
"""


def texts(results: Results, content: Content) -> dict[str, str]:
    """Every export that is a text, by file name."""
    experiment, claims, rows = results.experiment, content.claims, content.matrix.rows
    frames = {
        "matrix.csv": matrix_frame(rows),
        "claims.csv": claims_frame(claims.verdicts, experiment),
        "categories.csv": export_frame(content.categories.frame).round(4),
        "summary.csv": results.summary,
    }
    return {name: frame.to_csv(index=False) for name, frame in frames.items()} | {
        "results.json": json.dumps(record(results, content, frames), allow_nan=False, ensure_ascii=False) + "\n",
        "tables.tex": latex_tables(results, claims, rows),
        "numbers.tex": latex_macros(rows),
        "report.md": markdown(results, claims, content.matrix),
        "metafile.yml": metafile(experiment, rows),
    }


def record(results: Results, content: Content, frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """All of the report's numbers; reports/results.schema.json describes it."""
    return {
        "schema": 1,
        "experiment": results.experiment.model_dump(mode="json"),
        "verdicts": content.matrix.counts,
        "claims": _records(frames["claims.csv"]),
        "matrix": _records(frames["matrix.csv"]),
        "categories": json.loads(frames["categories.csv"].to_json(orient="split", index=False)),
        "deviations": [row._asdict() for row in content.deviations.rows],
        "cells": [
            {"cell": run.key, "state": run.state, "reason": run.reason, "manifest": run.manifest}
            for run in results.runs
        ],
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table for JSON: what is missing is null."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def latex(text: Any) -> str:
    """``text`` with LaTeX's special characters escaped; what pdflatex has no letter for is a question mark.

    >>> latex("50% of a_b")
    '50\\\\% of a\\\\_b'
    """
    known = (_LATEX.get(character, character) for character in str(text))
    return "".join(shown if ord(max(shown)) < 256 else "?" for shown in known)


def latex_tables(results: Results, claims: Claims, rows: Iterable[MatrixRow]) -> str:
    """The matrix and the claims as booktabs tables: ``\\usepackage{booktabs}``, then ``\\input``."""
    experiment, headings = results.experiment, ["Model", "Activation", *SHOWN.values()]
    body = []
    for row in rows:
        if row.figures[("segm", "AP")].value is None:
            body.append([row.model, row.name, *([row.state] + [""] * (len(SHOWN) - 1))])
            continue
        body.append([row.model, row.name, *(row.figures[figure].shown for figure in SHOWN)])
        bounds = [row.figures[figure].bounds for figure in SHOWN]
        if any(bounds):
            body.append(["", "", *(_Small(each) for each in bounds)])
    trainings = "one training each" if len(experiment.seeds) == 1 else f"means of {len(experiment.seeds)} trainings"
    caption = (
        f"Mask AP × 100 and its parts (AP50: at an IoU of 0.5; r, c, f: of rare, common and frequent categories), and "
        f"box AP, on {experiment.splits[0]} of experiment {experiment.name}; {trainings}. Small: 95 % intervals "
        f"over {results.redrawn}. {caveat(experiment)}"
    )
    table = _booktabs(headings, body, "llr" + "r" * (len(SHOWN) - 1), caption, "matrix")
    decided: list[list[str]] = []
    above = ""
    for statement, *verdict in _claims(claims):  # a statement once, above its verdicts
        decided += ([[statement]] if statement != above else []) + [verdict]
        above = statement
    caption = (
        f"The paper’s claims, judged by rules set in advance; in brackets 95 % intervals. {caveat(experiment)} "
        f"{results.caveat}"
    )
    verdicts = _booktabs(_HEADINGS[1:], decided, "lp{7.5cm}l", caption, "claims")
    return f"% requires \\usepackage{{booktabs}}\n{table}\n{verdicts}"


def caveat(experiment: Experiment) -> str:
    """What a reader of its numbers must know first: what its data set says of itself, or that the recipe differs."""
    if experiment.reproduction:
        return "The experiment follows the paper’s recipe."
    return matrix.data(experiment).notice or "The experiment does not follow the paper’s recipe."


class _Small(str):
    """A cell that is printed small."""


def _claims(claims: Claims) -> list[list[str]]:
    """Statement, model, evidence with its interval and caveat, and verdict of every decision."""
    return [
        [
            v.claim.statement,
            architecture_name(v.architecture or ""),
            "; ".join(filter(None, (_bracketed(v.evidence, v.bounds), v.caveat))),
            v.outcome.replace("_", " "),
        ]
        for v in claims.verdicts
    ]


def _bracketed(text: str, bounds: str) -> str:
    return f"{text} ({bounds})" if bounds else text


def _booktabs(headings: list[str], rows: Iterable[list[str]], columns: str, caption: str, label: str) -> str:
    first, *rest = (_line(row, len(headings)) for row in (headings, *rows))
    return _TABLE % (latex(caption), label, columns, first, "\n".join(rest))


def _line(row: list[str], columns: int) -> str:
    """A row; one of a single cell spans the table."""
    if len(row) < columns:
        return rf"\multicolumn{{{columns}}}{{p{{11.5cm}}}}{{\textit{{{latex(row[0])}}}}} \\"
    cells = (rf"{{\tiny {latex(cell)}}}" if isinstance(cell, _Small) else latex(cell) for cell in row)
    return " & ".join(cells) + r" \\"


def macro(*words: str) -> str:
    """Name of a LaTeX macro, letters only.

    >>> macro("mask_rcnn_r50", "gumbel", "AP50")
    'MaskRcnnRFiveZeroGumbelAPFiveZero'
    """
    parts = [part for word in words for part in re.split(r"[^0-9A-Za-z]+", word) if part]
    camel = "".join(part[0].upper() + part[1:] for part in parts)
    return re.sub(r"\d", lambda digit: _DIGITS[int(digit[0])], camel)


def latex_macros(rows: Iterable[MatrixRow]) -> str:
    """One macro a number, as it is printed: ``\\MaskRcnnRFiveZeroGumbelAP``; the paper's end in ``Paper``."""
    lines = ["% AP x 100 with one decimal"]
    for row in rows:
        scoring = [] if row.scoring == "matched" else [row.scoring]
        for figure, heading in SHOWN.items():
            name = macro(row.architecture, row.activation, *scoring, heading)
            for suffix, number in (("", row.figures[figure]), ("Paper", row.paper[figure])):
                if number.value is not None:
                    lines.append(f"\\newcommand{{\\{name}{suffix}}}{{{latex(number.shown)}}}")
    return "\n".join(lines) + "\n"


def markdown(results: Results, claims: Claims, matrix: Matrix) -> str:
    """The answer, the claims and the matrix as Markdown."""
    experiment = results.experiment
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in matrix.counts.items())
    rows = (
        [row.model, row.name, *(_bracketed(number.shown, number.bounds) for number in row.figures.values())]
        for row in matrix.rows
    )
    return f"""# Experiment {_cell(experiment.name)}

{_cell(experiment.description)} {_cell(caveat(experiment))} Decisions: {counts}.

## Claims; in brackets 95 % intervals of differences

{_cell(results.caveat)}

{pipes(_HEADINGS, _claims(claims))}

## Matrix, AP × 100 on {experiment.splits[0]}; in brackets 95 % intervals

{pipes(["Model", "Activation", *SHOWN.values()], rows)}
"""


def pipes(headings: list[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as Markdown."""
    first, *rest = ("| " + " | ".join(map(_cell, row)) + " |" for row in (headings, *rows))
    return "\n".join([first, "|" + " --- |" * len(headings), *rest])


def _cell(text: Any) -> str:
    """Text that Markdown shows as it is: no markup, no further column or row."""
    escaped = re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", str(text))
    return " ".join(escaped.split())


def metafile(experiment: Experiment, rows: Iterable[MatrixRow]) -> str:
    """Results in OpenMMLab's model-index format (https://github.com/paperswithcode/model-index)."""
    dataset = matrix.data(experiment).label
    models = []
    for row in rows:
        tasks: dict[str, dict[str, float]] = {"Instance Segmentation": {}, "Object Detection": {}}
        for (iou_type, metric), heading in SHOWN.items():
            task, name = ("Instance Segmentation", "mask ") if iou_type == "segm" else ("Object Detection", "")
            if (value := row.figures[iou_type, metric].value) is not None:
                tasks[task][name + heading] = round(100 * value, 2)
        if not any(tasks.values()):
            continue
        files = matrix.Cell(row.architecture, row.activation, experiment.seeds[0]).paths(experiment)
        scoring = "" if row.scoring == "matched" else f"_{row.scoring}_scoring"
        models.append(
            {
                "Name": f"{row.architecture}_{row.activation}{scoring}_{experiment.name}",
                "In Collection": "Gumbel",
                "Config": str(files.config),
                "Weights": str(files.checkpoint),
                "Metadata": {"Training Data": dataset, "Seeds": row.seeds, "Training Seconds": row.seconds},
                "Results": [
                    {"Task": task, "Dataset": f"{dataset} {experiment.splits[0]}", "Metrics": values}
                    for task, values in tasks.items()
                    if values
                ],
            }
        )
    collection = {
        "Name": "Gumbel",
        "Paper": {
            "URL": "https://arxiv.org/abs/2207.10936",
            "Title": "Long-tailed Instance Segmentation using Gumbel Optimized Loss",
        },
        "Metadata": {"Architecture": sorted({activation_name(name) for name in experiment.activations})},
    }
    return yaml.safe_dump({"Collections": [collection], "Models": models}, sort_keys=False)


def named_figures(content: Content) -> dict[str, Figure]:
    """Every figure of the page by the name of its file."""
    named: dict[str, Figure] = {}
    for section in content:
        for group, drawn in section.figures.items():
            for figure in drawn:
                name = re.sub(r"[^a-z0-9]+", "-", f"{group} {figure.title}".lower()).strip("-")
                while name in named:
                    name += "-paper"
                named[name] = figure
    return named


def write(folder: Path, contents: Mapping[str, str], drawn: Mapping[str, Figure], results: Results) -> None:
    """Write the exports into ``folder``, with the RO-Crate that describes them; what else lies there is removed."""
    norms = [results.stacked(a, "weight_norms").assign(architecture=a) for a in results.experiment.architectures]
    texts = {**contents, "weight_norms.csv": pd.concat(norms, ignore_index=True).to_csv(index=False)}
    for run in results.runs:
        if run.config:
            texts[f"cells/{run.key}.py"] = run.config
        if run.manifest:
            texts[f"cells/{run.key}.json"] = json.dumps(run.manifest, indent=1, ensure_ascii=False) + "\n"
    files = {name: text.encode() for name, text in texts.items()}
    for name, figure in drawn.items():
        files[f"figures/{name}.svg"] = figure.drawing.encode()
        files[f"figures/{name}.pdf"] = vl_convert.svg_to_pdf(figure.drawing)
    for name, content in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(content)
    described = folder / "ro-crate-metadata.json"
    write_json(described, crate(results, files))
    for path in folder.rglob("*"):
        if path.is_file() and path != described and str(path.relative_to(folder)) not in files:
            path.unlink()
