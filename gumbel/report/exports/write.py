"""The report's content for other tools: CSV, JSON, LaTeX, Markdown, model-index, figures, RO-Crate."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
import yaml

from gumbel.evaluation.metrics import SHOWN as METRICS
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path, write_json
from gumbel.report.drawing.figures import Figure
from gumbel.report.exports.crate import crate
from gumbel.report.page import sections, tables
from gumbel.report.page.categories import export_frame
from gumbel.report.page.tables import MatrixRow
from gumbel.words import activation_name, architecture_name

Context = Mapping[str, Any]

_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--",
    "×": r"$\times$", "’": "'", "≈": r"$\approx$", "⁻": "$^{-}$",
} | {superscript: f"$^{digit}$" for digit, superscript in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}  # fmt: skip
_DIGITS = dict(enumerate(["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]))


def texts(experiment: Experiment, summary: pd.DataFrame, context: Context) -> dict[str, str]:
    """Every export that is a text, by file name."""
    frames = {
        "matrix.csv": tables.matrix_frame(context["matrix"]),
        "claims.csv": tables.claims_frame(context["verdicts"]),
        "categories.csv": export_frame(context["category_frame"]).round(4),
        "summary.csv": summary,
    }
    return {name: frame.to_csv(index=False) for name, frame in frames.items()} | {
        "results.json": _json(record(experiment, frames, context)) + "\n",
        "tables.tex": latex_tables(experiment, context),
        "numbers.tex": latex_macros(context["matrix"]),
        "report.md": markdown(experiment, context),
        "metafile.yml": metafile(experiment, context),
    }


def _json(record: Any) -> str:
    return json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def record(experiment: Experiment, frames: Mapping[str, pd.DataFrame], context: Context) -> dict[str, Any]:
    """All of the report's numbers; reports/results.schema.json describes it."""
    return {
        "schema": 1,
        "experiment": experiment.model_dump(mode="json"),
        "verdicts": dict(context["counts"]),
        "claims": _records(frames["claims.csv"]),
        "matrix": _records(frames["matrix.csv"]),
        "categories": json.loads(frames["categories.csv"].to_json(orient="split", index=False)),
        "deviations": context["deviations"],
        "cells": [
            {"cell": run.key, "state": run.state, "reason": run.reason, "manifest": run.manifest}
            for run in context["runs"]
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


def latex_tables(experiment: Experiment, context: Context) -> str:
    """The matrix and the claims as booktabs tables: ``\\usepackage{booktabs}``, then ``\\input``."""
    headings = ["Model", "Activation", *METRICS.values()]
    body = [
        [row.model, row.name, *(row.figures[figure].shown for figure in METRICS)]
        if row.figures[("segm", "AP")].value is not None
        else [row.model, row.name, *([row.state] + [""] * (len(METRICS) - 1))]
        for row in context["matrix"]
    ]
    caption = f"AP × 100 on {experiment.splits[0]}, experiment {experiment.name}."
    matrix = _booktabs(headings, body, "llr" + "r" * (len(METRICS) - 1), caption, "matrix")
    verdicts = _claims(context)
    for row, above in zip(verdicts[:0:-1], verdicts[-2::-1], strict=True):  # a statement once, above its decisions
        row[0] = "" if row[0] == above[0] else row[0]
    claims = _booktabs(["Claim", "Model", "Evidence", "Verdict"], verdicts, "p{4cm}lp{3.9cm}l", "Claims.", "claims")
    return f"% requires \\usepackage{{booktabs}}\n{matrix}\n{claims}"


def _claims(context: Context) -> list[list[str]]:
    """Statement, model, evidence with its interval, and verdict of every decision."""
    return [
        [
            v.claim.statement,
            architecture_name(v.architecture or ""),
            f"{v.evidence} ({v.bounds})" if v.bounds else v.evidence,
            v.outcome.replace("_", " "),
        ]
        for v in context["verdicts"]
    ]


def _booktabs(headings: Iterable[str], rows: Iterable[Iterable[str]], columns: str, caption: str, label: str) -> str:
    lines = [" & ".join(map(latex, row)) + r" \\" for row in (headings, *rows)]
    inner = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            f"\\caption{{{latex(caption)}}}\\label{{tab:{label}}}",
            f"\\begin{{tabular}}{{{columns}}}",
            *inner,
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


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
        for figure, heading in METRICS.items():
            name = macro(row.architecture, row.activation, *scoring, heading)
            for suffix, number in (("", row.figures[figure]), ("Paper", row.paper[figure])):
                if number.value is not None:
                    lines.append(f"\\newcommand{{\\{name}{suffix}}}{{{latex(number.shown)}}}")
    return "\n".join(lines) + "\n"


def markdown(experiment: Experiment, context: Context) -> str:
    """The answer, the claims and the matrix as Markdown."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in context["counts"].items())
    kind = "follows the paper’s recipe" if experiment.reproduction else "is no reproduction of the paper"
    rows = [
        [
            row.model,
            row.name,
            *(f"{n.shown} {f'({n.bounds})' if n.bounds else ''}".strip() for n in row.figures.values()),
        ]
        for row in context["matrix"]
    ]
    return "\n".join(
        [
            f"# Experiment {_cell(experiment.name)}",
            "",
            f"{_cell(experiment.description)} It {kind}. Decisions: {counts}.",
            "",
            "## Claims; in brackets 95 % intervals of differences",
            "",
            *_pipes(["Claim", "Model", "Evidence", "Verdict"], _claims(context)),
            "",
            f"## Matrix, AP × 100 on {experiment.splits[0]}; in brackets 95 % intervals",
            "",
            *_pipes(["Model", "Activation", *METRICS.values()], rows),
            "",
        ]
    )


def _pipes(headings: list[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in (headings, *rows)]
    return [lines[0], "|" + " --- |" * len(headings), *lines[1:]]


def _cell(text: Any) -> str:
    """Text that Markdown shows as it is: no markup, no further column or row."""
    escaped = re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", str(text))
    return " ".join(escaped.split())


def metafile(experiment: Experiment, context: Context) -> str:
    """Results in OpenMMLab's model-index format (https://github.com/paperswithcode/model-index)."""
    dataset = "LVIS v1" if experiment.dataset == "lvis_v1" else f"{experiment.dataset} (generated)"
    models = []
    for row in context["matrix"]:
        metrics = {
            heading: round(100 * row.figures[figure].value, 2)
            for figure, heading in METRICS.items()
            if row.figures[figure].value is not None
        }
        if not metrics:
            continue
        folder = f"results/{experiment.name}/{row.architecture}/{row.activation}/seed{experiment.seeds[0]}"
        segm = {f"mask {key}": value for key, value in metrics.items() if not key.startswith("box")}
        box = {key: value for key, value in metrics.items() if key.startswith("box")}
        tasks = {"Instance Segmentation": segm, "Object Detection": box}
        scoring = "" if row.scoring == "matched" else f"_{row.scoring}_scoring"
        models.append(
            {
                "Name": f"{row.architecture}_{row.activation}{scoring}_{experiment.name}",
                "In Collection": "Gumbel",
                "Config": f"{folder}/config.py",
                "Weights": f"{folder}/train/checkpoint.pth",
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


def named_figures(context: Context) -> dict[str, Figure]:
    """Every figure of the page by the name of its file."""
    groups: dict[str, list[Figure]] = {"results": [figure for _, pair in context["poster"] for figure in pair]}
    groups |= {f"norms {name}": drawn for name, drawn in context["norms"].items()}
    if context["distribution"]:
        groups |= {"distribution": context["distribution"]["maps"] + context["distribution"]["scatters"]}
    groups |= {"activation": context["curves"]}
    groups |= {f"training {name}": drawn for name, drawn in context["training"].items()}
    groups |= {f"{name} over training": drawn for name, drawn in context["over_training"].items()}
    groups |= {f"detections {name}": drawn for name, drawn in context["detections"].items()}
    named: dict[str, Figure] = {}
    for group, drawn in groups.items():
        for figure in drawn:
            name = re.sub(r"[^a-z0-9]+", "-", f"{group} {figure.title}".lower()).strip("-")
            while name in named:
                name += "-paper"
            named[name] = figure
    return named


def write(
    folder: Path,
    contents: Mapping[str, str],
    drawn: Mapping[str, Figure],
    experiment: Experiment,
    context: Context,
) -> None:
    """Write the exports into ``folder``, with the RO-Crate that describes them."""
    for name, text in contents.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text)
    norms = [sections.stacked(experiment, a, "weight_norms").assign(architecture=a) for a in experiment.architectures]
    with atomic_path(folder / "weight_norms.csv") as temporary:
        pd.concat(norms, ignore_index=True).to_csv(temporary, index=False)
    for name, figure in drawn.items():
        with atomic_path(folder / "figures" / f"{name}.svg") as temporary:
            temporary.write_text(figure.drawing)
        with atomic_path(folder / "figures" / f"{name}.pdf") as temporary:
            temporary.write_bytes(vl_convert.svg_to_pdf(figure.drawing))
    files = [*contents, "weight_norms.csv", *(f"figures/{name}.{kind}" for name in drawn for kind in ("svg", "pdf"))]
    write_json(folder / "ro-crate-metadata.json", crate(experiment, files, context["runs"]))
