"""The reference pages that are made from the code: ``python -m docs.reference`` writes them."""

import json
from collections.abc import Iterable
from typing import Any

from gumbel import datasets
from gumbel.commands import ABOUT, Argument, Command, commands
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path
from gumbel.paths import REPOSITORY

NOTE = "<!-- Written by `python -m docs.reference`; edit the code that it describes instead. -->"

#: One line a file: pattern, the stage that writes it, what it holds. ABBREVIATIONS lists what the first name of a
#: pattern may stand for.
OUTPUTS = (
    ("data/{dataset}/{split}.json", "data", "annotations of a split in the LVIS v1 format; of LVIS, a link to them"),
    ("data/{dataset}/.{split}.json.{digest}.arrow", "train", "a split as mmdet reads it, mapped into memory by trainings and predictions; may be deleted"),
    ("data/{dataset}/images/", "data", "pictures, named by the annotations' `coco_url`"),
    ("data/{dataset}/ATTRIBUTION.md", "data", "who made the pictures, and under which licence"),
    ("data/{dataset}/checksums.json", "data", "of mini: what it was generated from, and SHA-256 of its files and pixels"),
    ("data/{dataset}/verified.json", "data", "of LVIS: which files were verified, their SHA-256 and what was counted in them"),
    ("data/drawings/", "data", "of mini: the drawings that its scenes are made of, as npm unpacked them"),
    ("data/backbones/{name}.pth", "backbones", "ImageNet weights that trainings start from"),
    ("data/weights/{name}", "weights", "weights that an experiment names by URL, and their SHA-256 (.json)"),
    ("results/{experiment}/experiment.yaml", "(Snakemake)", "the experiment as it was resolved"),
    ("results/{experiment}/level.yaml", "study", "of a level of a study: the experiment, for Snakemake's `--configfile`"),
    ("results/{experiment}/recipe.json", "configs", "what the cells do otherwise than the released recipe, and why"),
    ("results/{experiment}/doctor.json", "doctor", "what was checked before the trainings, and what they are expected to cost"),
    ("results/{experiment}/trial.json", "trial", "what a step of each architecture costs on a machine's GPU, in each precision"),
    ("results/{experiment}/object_distribution.npz", "object-distribution", "probability of an object per class and grid cell"),
    ("results/{experiment}/head_only/{architecture}/seed{seed}.features.parquet", "features", "one row a RoI: what a frozen detector's classification layer is given; a row group is a batch"),
    ("results/{experiment}/head_only/order.csv", "head-only-order", "figures of full training, and of the classification layer alone"),
    ("results/{experiment}/summary.parquet", "collect", "one row a figure: cell, split, scoring, source, metric, value"),
    ("{training}/config.py", "configs", "the resolved mmengine configuration, headed by its length and command"),
    ("{training}/train/checkpoint.pth", "train", "trained weights only"),
    ("{training}/train/history.parquet", "train", "losses, accuracy, learning rate and time per iteration"),
    ("{training}/train/manifest.json", "train", "where and how it ran: host, versions, hashes, duration, resolved facts"),
    ("{training}/train/curves/", "train", "training curves for TensorBoard, and files of the other trackers"),
    ("{training}/work_dir/", "train", "checkpoints to resume from, attempts, and the finished training; Snakemake never removes it"),
    ("{training}/work_dir/lock", "train", "names the process that writes the training, while there is one"),
    ("{training}/status.json", "train", "state, iteration, loss, ETA, host and attempt of the running or finished training"),
    ("{cell}/predictions/{split}/{scoring}.parquet", "predict", "one row a detection"),
    ("{cell}/predictions/{split}/.{scoring}.parquet.{digest}/", "predict", "what an unfinished prediction goes on from"),
    ("{cell}/metrics/{split}/{scoring}.json", "evaluate", "LVIS AP and AR, unrounded, with the protocol"),
    ("{cell}/metrics/{split}/{scoring}.per_category.parquet", "evaluate", "AP per category"),
    ("{cell}/metrics/{split}/{scoring}.bootstrap.npz", "evaluate", "figures on resampled images, of the first split: behind every interval"),
    ("{cell}/errors/{split}/{scoring}.json", "evaluate", "types of error, score histogram and calibration, of the first split"),
    ("{cell}/over_training/{percent}/", "train", "`train/checkpoint.pth` at that share of the training, with its predictions and metrics"),
    ("{cell}/weight_norms.parquet", "weight-norms", "classifier weight norm per stage and category, with training counts"),
    ("{cell}/received.json", "unpack", "of a cell that was trained elsewhere: its archive, and what of it was computed again"),
    ("{output_folder}/manifests/{output}.json", "(every stage)", "where and when the job of an output ran, from which files, with how much memory"),
    ("{folder}/logs/{stage}.log", "(Snakemake)", "what the stage printed"),
    ("{folder}/benchmarks/{stage}.tsv", "(Snakemake)", "time and memory of the stage"),
    ("reports/summary.html", "report", "the report of the experiment that was run last: a copy of its page"),
    ("reports/index.html", "report", "every experiment that has a report: what, when, verdicts, link"),
    ("reports/study-{study}/study.html", "study", "a study's page, from the levels that are there"),
    ("reports/study-{study}/exports/", "study", "its tables as CSV and Markdown, its figures as SVG"),
    ("reports/{experiment}/summary.html", "report", "the report, one self-contained page"),
    ("reports/{experiment}/exports/", "report", "tables as CSV, JSON, LaTeX and Markdown, figures as SVG and PDF, metafile.yml, RO-Crate; `cells/`: configuration and manifest of each training"),
    ("reports/{experiment}/progress.html", "(Snakemake)", "progress of every training, while the workflow runs; also `status --html`"),
)  # fmt: skip

_CELL = "results/{experiment}/{architecture}/{activation}/seed{seed}"
_WARM_START = "results/{experiment}/warm_start/{architecture}"
_HEAD_ONLY = "results/{experiment}/head_only/{architecture}/{activation}/seed{seed}"
ABBREVIATIONS = {
    "cell": (_CELL, _HEAD_ONLY),
    "training": (_CELL, _HEAD_ONLY, _WARM_START),
    "folder": (_CELL, _HEAD_ONLY, _WARM_START, "results/{experiment}"),
}

OUTPUTS_PAGE = """\
# Outputs

{note}

Paths are relative to the folder that the command runs in. [Commands](commands.md) says what each stage reads.

{abbreviations}

Files are written under a temporary name and then renamed, so a file that exists is complete. Tables are Parquet, small
records are JSON with a `schema` version, and arrays are NumPy's npz.

{table}
"""

EXPERIMENT_PAGE = """\
# Experiments

{note}

An experiment is a YAML file in `configs/experiments/`:

```console
snakemake --configfile configs/experiments/mini.yaml     # the whole experiment
snakemake --config name=mini2 'seeds=[0,1]'              # mini, with two keys changed
```

`base` inherits every key of another experiment except `name` and `description`. It is the name of one in
`configs/experiments/`, or a path. A key in the file replaces the whole key of the base: `cells: {{}}` removes all
cells' settings.

```yaml
base: lvis
name: lvis_101
description: The 101-layer backbone, trained twice as long.
recipe: 2x
architectures: [mask_rcnn_r101]
```

`recipe` implies `schedule` and `oversample`. With `reproduction: true` these cannot be changed, and `dataset` must be
that of the released recipes. Otherwise you can choose them freely.

Mistakes are reported before anything runs: unknown and missing keys, architectures, activations, data sets or schedules
that do not exist, and a `batch` that the GPUs cannot make up. [The recipe](recipe.md) says which values are those of
the released code.

{sections}
"""


COMMANDS_PAGE = """\
# Commands

{note}

`make install` puts the script `gumbel` beside `python -m gumbel`; they are the same. `gumbel completion bash` prints a
script that completes stages, options and files in the shell.

{about}

{sections}
"""


def commands_page() -> str:
    """``docs/commands.md``, from the help of every subcommand."""
    sections = [_section(name, command) for name, command in commands().items()]
    return COMMANDS_PAGE.format(note=NOTE, about=ABOUT.partition("\n")[0], sections="\n\n".join(sections))


def outputs_page() -> str:
    """``docs/outputs.md``, from the table of paths."""
    rows = [(f"`{pattern}`", stage, meaning) for pattern, stage, meaning in OUTPUTS]
    abbreviations = "\n".join(
        f"- `{{{name}}}` is {' or '.join(f'`{folder}`' for folder in folders)}."
        for name, folders in ABBREVIATIONS.items()
    )
    return OUTPUTS_PAGE.format(note=NOTE, abbreviations=abbreviations, table=_table(("file", "stage", "holds"), rows))


def experiment_page() -> str:
    """``docs/experiment.md``, from the descriptions of the schema."""
    schema = Experiment.model_json_schema()
    sections = [_table_of("Keys", schema, schema["$defs"])]
    for key, value in schema["properties"].items():
        if section := _section_of(value, schema["$defs"]):
            sections += [_table_of(f"`{key}`", section, schema["$defs"])]
        if key == "data":
            for name in datasets.names():
                settings = datasets.get(name).Settings.model_json_schema()
                if settings["properties"]:
                    sections += _tables_of(f"`data` of `{name}`", settings)
    return EXPERIMENT_PAGE.format(note=NOTE, sections="\n\n".join(sections))


PAGES = {"outputs.md": outputs_page, "experiment.md": experiment_page, "commands.md": commands_page}


def write() -> None:
    """Write every page to ``docs/``."""
    for name, page in PAGES.items():
        with atomic_path(REPOSITORY / "docs" / name) as temporary:
            temporary.write_text(page())


def _section(name: str, command: Command) -> str:
    """A subcommand: what it does, an example, and its arguments."""
    about, _, examples = command.description.partition("\n\nExample")
    lines = [line.removeprefix("  ") for line in examples.splitlines()[1:]]
    parts = [f"## {name}", about, "\n".join(["```console", *lines, "```"])]
    if command.arguments:
        rows = [(_argument(one), one.help.replace("|", "\\|").replace("*/", "\\*/")) for one in command.arguments]
        parts.append(_table(("argument", "meaning"), rows))
    return "\n\n".join(parts)


def _argument(one: Argument) -> str:
    """An argument as code, with the values that it may have; those that have to be given are marked."""
    choices = " ".join(one.settings.get("choices", ()))
    needed = " (required)" if one.settings.get("required") else ""
    return f"`{' '.join([one.flags[0], choices]).strip()}`{needed}"


def _table_of(title: str, schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A heading, and one line a key of ``schema``."""
    rows = []
    for key, value in schema["properties"].items():
        section = _section_of(value, definitions)
        meaning = value.get("description") or section["description"]
        kind = ("name: " if "additionalProperties" in value else "") + "section below" if section else _type(value)
        rows.append((f"`{key}`", kind, _default(key, value, schema, section), meaning))
    return f"## {title}\n\n{schema['description']}\n\n{_table(('key', 'type', 'default', 'meaning'), rows)}"


def _tables_of(title: str, schema: dict[str, Any]) -> list[str]:
    """The table of a data set's settings, and those of its own sections."""
    definitions = schema.get("$defs", {})
    nested = {key: _section_of(value, definitions) for key, value in schema["properties"].items()}
    own = [_table_of(f"{title}: `{key}`", section, definitions) for key, section in nested.items() if section]
    return [_table_of(title, schema, definitions), *own]


def _default(key: str, value: dict[str, Any], schema: dict[str, Any], section: dict[str, Any]) -> str:
    if key in schema.get("required", []):
        return "required"
    if "default" not in value:
        return "the recipe's"
    return "its defaults" if section and value["default"] else f"`{json.dumps(value['default'])}`"


def _section_of(value: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of the section that a key holds, or each of its names; empty where it holds none."""
    named = value.get("additionalProperties")
    options = (value, *value.get("anyOf", []), named if isinstance(named, dict) else {})
    references = [option["$ref"] for option in options if "$ref" in option]
    return definitions[references[0].rpartition("/")[2]] if references else {}


def _type(value: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in value:
        return " or ".join(_type(option) for option in value["anyOf"])
    if "enum" in value:
        return "one of " + ", ".join(f"`{name}`" for name in value["enum"])
    if value["type"] == "array" and "prefixItems" in value:
        return "pair of " + _type(value["prefixItems"][0])
    if value["type"] == "array":
        return f"list of {_type(value['items']).removeprefix('one of ')}"
    if value["type"] == "object":
        return "settings" if value["additionalProperties"] is True else f"name: {_type(value['additionalProperties'])}"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "exclusiveMaximum": "below", "pattern": "matching"}
    limits = [f"{words} `{value[limit]}`" for limit, words in bounds.items() if limit in value]
    return " ".join([value.get("format", value["type"]), " and ".join(limits)]).strip()


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    write()
