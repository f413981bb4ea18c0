"""The reference pages that are made from the code: ``python -m docs.reference`` writes them."""

import json
from collections.abc import Iterable
from typing import Any

from gumbel import datasets
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path
from gumbel.paths import ABBREVIATIONS, OUTPUTS, REPOSITORY

NOTE = "<!-- Written by `python -m docs.reference`; edit the code that it describes instead. -->"

OUTPUTS_PAGE = """\
# Outputs

{note}

Every path is relative to the folder that the command runs in. `python -m gumbel STAGE --help` says what a stage reads.

{abbreviations}

Each file is written under a temporary name and renamed, so a file that exists is whole. Tables are Parquet, small
records JSON with a `schema` version, arrays NumPy's npz.

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

`base` takes over every key of another experiment but `name` and `description`: of one in `configs/experiments/` by its
name, or of any file. A key that stands in the file goes over the base's, whole: `cells: {{}}` leaves all of these out.

```yaml
base: lvis
name: lvis_101
description: The backbone of 101 layers, trained twice as long.
recipe: 2x
architectures: [mask_rcnn_r101]
```

`recipe` implies `schedule` and `oversample`. With `reproduction: true` an experiment cannot say otherwise, and its
`dataset` is that of the released recipes; else both are free.

An unknown key, a missing one, an architecture, activation, data set or schedule that does not exist, and a `batch` that
the GPUs cannot make are refused before anything runs. [The recipe](recipe.md) says
which values are those of the released code.

{sections}
"""


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


PAGES = {"outputs.md": outputs_page, "experiment.md": experiment_page}


def write() -> None:
    """Write every page to ``docs/``."""
    for name, page in PAGES.items():
        with atomic_path(REPOSITORY / "docs" / name) as temporary:
            temporary.write_text(page())


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
