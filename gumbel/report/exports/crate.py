"""The RO-Crate of a report: what its files are and which trainings they came from.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): JSON-LD whose graph lists the files, and one ``CreateAction`` per
training with its software, times, host, configuration, what it read and what it wrote.
"""

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import yaml

from gumbel.experiment import matrix
from gumbel.paths import REPOSITORY
from gumbel.report.page.results import Results, Run

_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".tex": "application/x-tex",
    ".md": "text/markdown",
    ".yml": "application/yaml",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
_PAPER = "https://arxiv.org/abs/2207.10936"
_AUTHOR = "#author"
_LICENSE = {
    "@id": "https://www.apache.org/licenses/LICENSE-2.0",
    "@type": "CreativeWork",
    "name": "Apache License 2.0",
    "description": "the licence of this report and of the benchmark that wrote it",
}

_LICENSE_LINK = re.compile(r"https?://[^\s()<>]*licen[cs]e[^\s()<>]*", re.IGNORECASE)

Entity = dict[str, Any]


def crate(results: Results, files: Iterable[str]) -> Entity:
    """Metadata of the folder that holds ``files``, with the trainings that they came from."""
    experiment, names = results.experiment, list(files)
    trained = [run for run in results.runs if run.manifest]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Gumbel benchmark, experiment {experiment.name}",
        "description": experiment.description,
        "author": {"@id": _AUTHOR},
        "publisher": {"@id": _AUTHOR},
        "license": {"@id": _LICENSE["@id"]},
        "citation": {"@id": _PAPER},
        "hasPart": [{"@id": name} for name in names],
        "mentions": [{"@id": f"#{run.key}"} for run in trained],
    }
    if trained:
        root["datePublished"] = max(run.manifest["finished"] for run in trained)
    standard = {"@id": "https://w3id.org/ro/crate/1.1"}
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": standard,
            "about": {"@id": "./"},
        },
        root,
        {"@id": _AUTHOR, "@type": "Organization", "name": citation["authors"][0]["name"]},
        _LICENSE,
        {
            "@id": _PAPER,
            "@type": "ScholarlyArticle",
            "name": "Long-tailed Instance Segmentation using Gumbel Optimized Loss",
        },
        *(
            {"@id": name, "@type": "File", "name": name, "encodingFormat": _TYPES[PurePath(name).suffix]}
            for name in names
        ),
        *(_action(run, names) for run in trained),
        *_data(results, trained),
        *_checkpoints(trained),
        *_software(trained),
    ]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _action(run: Run, files: Iterable[str]) -> Entity:
    manifest = run.manifest
    configuration = f"cells/{run.key}.py"
    read = [configuration] if configuration in files else []
    read += [f"#sha256-{digest}" for digest in manifest.get("data_sha256", {}).values()]
    return {
        "@id": f"#{run.key}",
        "@type": "CreateAction",
        "name": f"{'conversion' if 'converted_from' in manifest else 'training'} of {run.name}",
        "startTime": manifest["started"],
        "endTime": manifest["finished"],
        "agent": {"@id": _AUTHOR},
        "instrument": [{"@id": f"#{name}-{version}"} for name, version in manifest["versions"].items() if version],
        "description": f"on {manifest['host']}, configuration sha256:{manifest['config_sha256']}, "
        f"commit {manifest.get('commit')}, seed {manifest.get('seed')}",
        "object": [{"@id": name} for name in dict.fromkeys(read)],
        "result": [{"@id": f"#weights-{run.key}"}, {"@id": f"cells/{run.key}.json"}],
    }


def _checkpoints(runs: Iterable[Run]) -> list[Entity]:
    """The trained weights, which stay where they were trained: described by their hash."""
    return [
        {
            "@id": f"#weights-{run.key}",
            "@type": "CreativeWork",
            "name": f"trained weights of {run.name}",
            "identifier": f"sha256:{run.manifest.get('checkpoint_sha256', 'unknown')}",
        }
        for run in runs
    ]


def _data(results: Results, runs: Iterable[Run]) -> list[Entity]:
    """What the trainings read, by hash; pictures with the licences that their attribution links to."""
    data = matrix.data(results.experiment)
    read = {digest: path for run in runs for path, digest in run.manifest.get("data_sha256", {}).items()}
    entities: list[Entity] = [
        {"@id": f"#sha256-{digest}", "@type": "CreativeWork", "name": path, "identifier": f"sha256:{digest}"}
        for digest, path in read.items()
    ]
    if not data.attribution.exists():
        return entities
    text = data.attribution.read_text()
    links = sorted(set(_LICENSE_LINK.findall(text)) - {_LICENSE["@id"]})
    for entity in entities:
        if entity["name"].startswith(f"{data.root}/"):
            named = [{"@id": link} for link in links]
            entity |= {"license": named[0] if len(named) == 1 else named, "creditText": text}
    return [*entities, *({"@id": link, "@type": "CreativeWork", "name": _license_name(link)} for link in links)]


def _license_name(link: str) -> str:
    """``https://creativecommons.org/licenses/by-sa/4.0/`` as ``by-sa 4.0``."""
    return " ".join(link.rstrip("/").rpartition("licenses/")[2].split("/")) or link


def _software(runs: Iterable[Run]) -> list[Entity]:
    used = {pair for run in runs for pair in run.manifest["versions"].items() if pair[1]}
    return [
        {"@id": f"#{name}-{version}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        for name, version in sorted(used)
    ]
