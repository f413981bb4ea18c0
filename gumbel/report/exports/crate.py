"""The RO-Crate of a report: what its files are and which trainings they came from.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): JSON-LD whose graph lists the files, and one ``CreateAction`` per
training with its software, times, host and configuration.
"""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from gumbel.experiment.schema import Experiment
from gumbel.report.page.results import Run

_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".tex": "application/x-tex",
    ".md": "text/markdown",
    ".yml": "application/yaml",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
_PAPER = "https://arxiv.org/abs/2207.10936"


def crate(experiment: Experiment, files: Iterable[str], runs: Iterable[Run]) -> dict[str, Any]:
    """Metadata of the folder that holds ``files``; ``runs`` are the cells' trainings."""
    names = list(files)
    trained = [run for run in runs if run.manifest]
    finished = max((run.manifest["finished"] for run in trained), default=None)
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Gumbel benchmark, experiment {experiment.name}",
        "description": experiment.description,
        "license": {"@id": "https://www.apache.org/licenses/LICENSE-2.0"},
        "citation": {"@id": _PAPER},
        "hasPart": [{"@id": name} for name in names],
        "mentions": [{"@id": f"#{run.key}"} for run in trained],
    }
    if finished:
        root["datePublished"] = finished
    about = {"@id": "./"}
    standard = {"@id": "https://w3id.org/ro/crate/1.1"}
    graph = [
        {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "conformsTo": standard, "about": about},
        root,
        {
            "@id": _PAPER,
            "@type": "ScholarlyArticle",
            "name": "Long-tailed Instance Segmentation using Gumbel Optimized Loss",
        },
        *(
            {"@id": name, "@type": "File", "name": name, "encodingFormat": _TYPES[PurePath(name).suffix]}
            for name in names
        ),
        *(_action(run) for run in trained),
        *_software(trained),
    ]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _action(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    return {
        "@id": f"#{run.key}",
        "@type": "CreateAction",
        "name": f"{'conversion' if 'converted_from' in manifest else 'training'} of {run.name}",
        "startTime": manifest["started"],
        "endTime": manifest["finished"],
        "instrument": [{"@id": f"#{name}-{version}"} for name, version in manifest["versions"].items() if version],
        "description": f"on {manifest['host']}, configuration sha256:{manifest['config_sha256']}, "
        f"commit {manifest.get('commit')}, seed {manifest.get('seed')}",
        "result": {"@id": "results.json"},
    }


def _software(runs: Iterable[Run]) -> list[dict[str, Any]]:
    used = {pair for run in runs for pair in run.manifest["versions"].items() if pair[1]}
    return [
        {"@id": f"#{name}-{version}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        for name, version in sorted(used)
    ]
