"""The report: one self-contained page, rendered from the files that the stages before it wrote."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from altair.utils.schemapi import debug_mode
from markupsafe import Markup

from gumbel.evaluation.metrics import SHOWN as METRICS
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path
from gumbel.paths import CONFIGS, EXPORTS, TEMPLATES, CellPaths, ExperimentPaths
from gumbel.report.drawing import diagrams, figures
from gumbel.report.drawing.samples import Sample, draw_samples
from gumbel.report.exports import write as exports
from gumbel.report.page import categories, provenance, sections, tables
from gumbel.report.page.deviations import deviations
from gumbel.report.summary.collect import RESULTS
from gumbel.report.verdicts.claims import Verdict, decide, load_claims
from gumbel.words import (
    ARCHITECTURES,
    DETECTORS,
    ERRORS,
    FREQUENCIES,
    SIMULATED,
    STATISTICS,
    VERDICTS,
    activation_name,
    architecture_name,
    duration,
    percent,
    scientific,
)

Context = dict[str, Any]


def render(experiment: Experiment, output: Path) -> None:
    """Write the page to ``output``, and its tables and figures into ``exports`` beside it.

    Raises FileNotFoundError where the experiment has no summary yet.
    """
    path = ExperimentPaths(experiment.name).summary
    if not path.exists():
        raise FileNotFoundError(
            f"expected the summary {path}, found none: run `python -m gumbel collect` for experiment {experiment.name}"
        )
    summary = pd.read_parquet(path)
    with debug_mode(False):  # Altair's checks of every mark take half of the time; the figures' tests run with them
        context = _context(experiment, summary)
    texts = exports.texts(experiment, summary, context)
    drawn = exports.named_figures(context)
    context |= {"downloads": {name: _data_uri(text) for name, text in texts.items()}, "figure_names": list(drawn)}
    with atomic_path(output) as temporary:
        temporary.write_text(_environment().get_template("summary.html.j2").render(context))
    exports.write(output.parent / EXPORTS.name, texts, drawn, experiment, context)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"percent": percent, "duration": duration, "short": _short, "scientific": scientific}
    environment.globals |= {"activation_name": activation_name, "architecture_name": architecture_name}
    return environment


def _short(digest: str | None) -> str:
    return (digest or "–")[:12]


def _data_uri(text: str) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(text.encode()).decode()


def _context(experiment: Experiment, summary: pd.DataFrame) -> Context:
    verdicts = decide(summary, load_claims(), experiment)
    counts: Counter[str] = Counter(verdict.outcome for verdict in verdicts)
    runs = list(_runs(experiment, summary))
    manifests = [run.manifest for run in runs if run.manifest]
    frame = categories.category_frame(experiment)
    attribution = matrix.data(experiment).attribution
    return {
        "experiment": experiment,
        "counts": {outcome: counts[outcome] for outcome in VERDICTS},
        "decided": len(verdicts),
        "states": Counter(summary[summary["source"] == "cell"]["state"]),
        "verdicts": verdicts,
        "decisions": tables.decisions(verdicts, summary),
        "row_verdicts": _row_verdicts(verdicts),
        "matrix": tables.matrix_rows(summary, experiment),
        "undone": _undone(experiment, runs),
        "metrics": METRICS,
        "activations": {name: activation_name(name) for name in experiment.activations},
        "models": {name: architecture_name(name) for name in experiment.architectures},
        "intervals": bool((summary["source"] == "paired").any()),
        "poster": sections.poster(summary, experiment),
        "norms": sections.norms(experiment),
        "norm_rows": tables.norm_rows(summary, experiment.activations),
        "statistics": STATISTICS,
        "distribution": sections.distribution(experiment),
        "distribution_rows": tables.distribution_rows(summary),
        "curves": diagrams.activation_figures(experiment.activations),
        "category_frame": frame,
        "categories": categories.category_view(frame, experiment),
        "compared": [activation_name(name) for name in categories.compared(experiment) or ()],
        "extremes": categories.winners_and_losers(frame, experiment),
        "training": sections.training(experiment),
        "over_training": sections.over_training(experiment, summary),
        "detections": sections.detections(experiment),
        "error_rows": tables.error_rows(summary, experiment),
        "error_kinds": ERRORS,
        "simulated": SIMULATED,
        **_samples(experiment, summary),
        "first_seed": f" Seed {experiment.seeds[0]}." if len(experiment.seeds) > 1 else "",
        "norms_binned": frame["category_id"].nunique() > figures.BINS,
        "sources": _sources(experiment),
        "runs": runs,
        "warm_starts": list(_warm_starts(experiment)),
        "seconds": sum(run.manifest.get("seconds", 0.0) for run in runs),
        "estimates": provenance.estimates(manifests),
        "facts": provenance.facts(manifests),
        "commit": provenance.commit(manifests),
        "hours_of": "GPU" if any(str(manifest.get("device")).startswith("cuda") for manifest in manifests) else "CPU",
        "deviations": deviations(experiment, manifests),
        "attribution": attribution.read_text() if attribution.exists() else None,
        "detectors": {ARCHITECTURES[name]: DETECTORS[name] for name in experiment.architectures},
        "configuration": _configuration(experiment),
        "frequencies": FREQUENCIES,
        "exports": EXPORTS.name,
        **_assets(),
    }


def _sources(experiment: Experiment) -> dict[str, Path]:
    """The files that the page's numbers are read from; what differs between cells in angle brackets."""
    split, paths, scoring = experiment.splits[0], ExperimentPaths(experiment.name), "<scoring>"
    cell = CellPaths(paths.root / "<architecture>" / "<activation>" / "seed<k>")
    return {
        "summary": paths.summary,
        "metrics": cell.metrics(split, scoring),
        "intervals": cell.bootstrap(split, scoring),
        "categories": cell.per_category(split, "matched"),
        "errors": cell.errors(split, "matched"),
        "predictions": cell.predictions(split, "matched"),
        "norms": cell.weight_norms,
        "history": cell.history,
        "manifest": cell.manifest,
        "distribution": paths.object_distribution,
        "annotations": matrix.data(experiment).annotations(split),
        "paper": RESULTS.relative_to(CONFIGS.parent),
        "recipe": provenance.RECIPE.relative_to(CONFIGS.parent),
    }


def _assets() -> Context:
    """Style and script of the page; only the script with this hash may run on it."""
    script = (TEMPLATES / "page.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (TEMPLATES / "style.css").read_text()
    return {"style": Markup(style), "script": Markup(script), "script_hash": f"sha256-{digest}"}


def _configuration(experiment: Experiment) -> str:
    """The file that runs the experiment again: of the checkout where it has one, else as it was resolved."""
    name = Path("configs") / "experiments" / f"{experiment.name}.yaml"
    return str(name if (CONFIGS.parent / name).exists() else ExperimentPaths(experiment.name).experiment)


def _row_verdicts(verdicts: list[Verdict]) -> dict[tuple[str, str, str], list[Verdict]]:
    """Verdicts by the row of the matrix that they are about: architecture, activation, scoring."""
    grouped: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.architecture and verdict.side:
            row = (verdict.architecture, verdict.side.activation, verdict.side.scoring)
            grouped.setdefault(row, []).append(verdict)
    return grouped


@dataclass(frozen=True)
class Run:
    """A training and its record; the record is empty where none was written."""

    architecture: str
    name: str
    state: str
    reason: str | None
    manifest: dict[str, Any]
    config: str | None
    key: str

    @property
    def record(self) -> str:
        return json.dumps(self.manifest, indent=1)


def _runs(experiment: Experiment, summary: pd.DataFrame) -> Iterator[Run]:
    rows = summary[summary["source"] == "cell"].set_index(["architecture", "activation", "seed"])
    states: dict[Any, Any] = rows[["state", "text"]].to_dict("index")
    for cell in matrix.cells(experiment):
        known = states[(cell.architecture, cell.activation, cell.seed)]
        name = f"{architecture_name(cell.architecture)} {activation_name(cell.activation)}, seed {cell.seed}"
        reason = None if pd.isna(known["text"]) else str(known["text"])
        paths = cell.paths(experiment)
        config = paths.config.read_text() if paths.config.exists() else None
        yield Run(
            cell.architecture,
            name,
            str(known["state"]),
            reason,
            _manifest(paths.manifest),
            config,
            str(cell).replace("/", "-"),
        )


def _warm_starts(experiment: Experiment) -> Iterator[Run]:
    for architecture in experiment.architectures if experiment.warm_start else []:
        manifest = _manifest(ExperimentPaths(experiment.name).warm_start(architecture).manifest)
        state = "done" if manifest else "missing"
        yield Run(
            architecture, architecture_name(architecture), state, None, manifest, None, f"warm_start-{architecture}"
        )


def _undone(experiment: Experiment, runs: list[Run]) -> list[str]:
    """The cells that are missing or failed by name; a model alone where all of its cells are."""
    names: list[str] = []
    for architecture in experiment.architectures:
        own = [run for run in runs if run.architecture == architecture]
        undone = [run.name for run in own if run.state != "done"]
        names += [architecture_name(architecture)] if len(undone) == len(own) else undone
    return names


def _manifest(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _samples(experiment: Experiment, summary: pd.DataFrame) -> dict[str, Any]:
    """Pictures of the architecture with the highest mean AP, of those that have detections of every activation."""
    data, split = matrix.data(experiment), experiment.splits[0]
    if data.annotations(split).exists():
        scored = summary[(summary["source"] == "evaluation") & (summary["split"] == split)]
        scored = scored[(scored["iou_type"] == "segm") & (scored["metric"] == "AP") & (scored["scoring"] == "matched")]
        means = scored.groupby("architecture")["value"].mean()
        for architecture in sorted(experiment.architectures, key=lambda name: -means.get(name, 0.0)):
            paths = {
                activation: matrix.Cell(architecture, activation, experiment.seeds[0])
                .paths(experiment)
                .predictions(split, "matched")
                for activation in experiment.activations
            }
            if all(path.exists() for path in paths.values()):
                samples: list[Sample] = draw_samples(data.annotations(split), data.images, paths)
                return {"samples": samples, "sampled": DETECTORS.get(architecture, architecture)}
    return {"samples": [], "sampled": None}
