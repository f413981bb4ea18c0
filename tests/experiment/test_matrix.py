"""What an experiment's configuration may say, and what the matrix makes of it."""

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

import pytest
import yaml
from mmengine.dataset import InfiniteSampler, worker_init_fn
from mmengine.runner import set_random_seed

from gumbel import datasets
from gumbel.detection.loop import IMAGE, seed_generators
from gumbel.experiment import matrix, schema
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS
from gumbel.section import Section

EXPERIMENTS = sorted((CONFIGS / "experiments").glob("*.yaml"))


@pytest.fixture
def record() -> dict:
    return yaml.safe_load((CONFIGS / "experiments" / "mini.yaml").read_text())


MISTAKES = {
    "unknown key": ({"grd": 8}, "grd: unknown key; docs/experiment.md lists the known ones"),
    "unknown key of a section": ({"widths": {"fpn": 8}}, "widths.fpn: unknown key"),
    "unknown architecture": (
        {"architectures": ["mask_rcnn_r51"]},
        "architectures: expected one of .*mask_rcnn_r50, .*found 'mask_rcnn_r51'",
    ),
    "unknown activation": ({"activations": ["gumble"]}, "activations: expected one of .*gumbel.*found 'gumble'"),
    "unknown activation to score": ({"released_scoring": ["sig"]}, "released_scoring: .*sigmoid.*found 'sig'"),
    "bias of an unknown activation": ({"classifier": {"bias": {"sig": 0}}}, "classifier.bias: .*found 'sig'"),
    "schedule typo": (
        {"schedule": "min1"},
        r"schedule: expected a file of configs/schedules \(mini, .*\); found 'min1'",
    ),
    "warm start's schedule typo": (
        {"warm_start": {"split": "warm_start", "schedule": "fast"}},
        "warm_start.schedule: expected a file of .*found 'fast'",
    ),
    "split typo": ({"splits": ["vall"]}, "splits: expected one of .*val_uniform.*found 'vall'"),
    "unknown data set": ({"dataset": "mimi"}, "dataset: expected one of coco, lvis_v1, mini; found 'mimi'"),
    "settings of another data set": ({"dataset": "lvis_v1"}, "data.image_size: unknown key"),
    "setting out of bounds": ({"data": {"categories": 1}}, "data.categories: .*found 1"),
    "option of no activation": ({"options": {"gumble": {}}}, "options: expected one of .*gumbel.*found 'gumble'"),
    "unknown option": ({"options": {"gumbel": {"kind": "x"}}}, r"options.gumbel: .*\(variant\); found 'kind'"),
    "unknown value of an option": (
        {"options": {"gumbel": {"variant": "x"}}},
        "options.gumbel.variant: expected one of exact, released; found 'x'",
    ),
    "drop loss of classes that compete": (
        {"gol": {"drop_below": 0.1}, "dataset": "lvis_v1", "data": {}, "splits": ["val"], "warm_start": None},
        "gol.drop_below: expected activations whose classes are problems of their own, found softmax",
    ),
    "drop loss without counts": ({"gol": {"drop_below": 0.1}}, "gol.drop_below: .*are known, found mini"),
    "negative seed": ({"seeds": [-1]}, "seeds.0: .*greater than or equal to 0; found -1"),
    "seed that NumPy does not take": ({"seeds": [5_000_000_000]}, "seeds.0: .*less than 2147483648; found 5000000000"),
    "width of nothing": ({"widths": {"fpn_channels": 0}}, "widths.fpn_channels: .*found 0"),
    "number that is none": ({"classifier": {"bias": {"gumbel": float("nan")}}}, "classifier.bias.gumbel: .*finite"),
    "split that is no file's name": (
        {
            "dataset": "coco",
            "data": {
                "splits": {"train": {"annotations": "a", "images": "b"}, "../val": {"annotations": "a", "images": "b"}}
            },
        },
        "`data.splits`: expected names of letters.*'../val'",
    ),
    "repeated entry": ({"seeds": [0, 1, 0]}, "`seeds` names the same entry twice.*remove one"),
    "empty list": ({"activations": []}, r"activations: .*at least 1 item.*found \[\]"),
    "wrong type": ({"grid": "fine"}, "grid: .*integer.*found 'fine'"),
    "name that is no folder": ({"name": "../mini"}, "name: .*found '../mini'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_with_expected_found_and_remedy(record, mistake):
    change, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message) as error:
        matrix.parse(record | change, "here.yaml")
    first, *_, last = str(error.value).splitlines()
    assert first == "here.yaml is not a valid experiment:"
    assert last == "Correct it; docs/experiment.md describes every key"


@pytest.mark.parametrize("key", [name for name, field in Experiment.model_fields.items() if field.is_required()])
def test_a_missing_key_is_refused_by_name(record, key):
    del record[key]
    with pytest.raises(ValueError, match=rf"{key}: expected a value; found none\. Add it"):
        matrix.parse(record)


def test_all_mistakes_are_named_at_once(record):
    with pytest.raises(ValueError, match=r"gumble.*\n.*min1"):
        matrix.parse(record | {"activations": ["gumble"], "schedule": "min1"})


@pytest.mark.parametrize(("text", "found"), [("a: [", "expected YAML; found"), ("- a", r"found \['a'\]"), ("", "None")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, found):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=found):
        matrix.load(tmp_path / "bad.yaml")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_of_the_project_is_valid_and_named_after_its_file(path):
    assert matrix.load(path).name == path.stem


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_written_as_resolved_reads_back_the_same(path, tmp_path):
    experiment = matrix.load(path)
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
    assert matrix.load(tmp_path / "resolved.yaml") == experiment


def sections() -> list[type[Section]]:
    found = [kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, Section)]
    assert Experiment in found
    return [*found, *(datasets.get(name).Settings for name in datasets.names())]


def whole_numbers(node: Any) -> Iterator[dict]:
    """Every whole number that a JSON schema has a place for."""
    if isinstance(node, dict):
        if node.get("type") == "integer":
            yield node
        for value in node.values():
            yield from whole_numbers(value)
    elif isinstance(node, list):
        for value in node:
            yield from whole_numbers(value)


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_whole_number_has_a_least_value(section):
    """Counts, sizes and seeds: none of them makes sense from minus infinity on."""
    unbounded = [each for each in whole_numbers(section.model_json_schema()) if "minimum" not in each]
    # Percentages, whose bounds `Experiment` names itself
    assert [each for each in unbounded if section is not Experiment] == []
    assert len(unbounded) <= 1


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_every_seed_that_is_taken_seeds_all_generators_of_a_training(record, seed):
    assert matrix.parse(record | {"seeds": [seed]}).seeds == [seed]
    set_random_seed(seed)
    worker_init_fn(worker_id=255, num_workers=256, rank=4095, seed=seed)
    seed_generators(seed, IMAGE, 2**31)
    assert len(list(islice(InfiniteSampler(range(4), seed=seed), 8))) == 8


def test_every_key_of_every_section_is_described():
    every = sections()
    for section in every:
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description or field.annotation in every, f"{section.__name__}.{name}"


def test_cells_come_architectures_first_in_the_order_of_the_configuration(record):
    experiment = matrix.parse(record | {"activations": ["softmax", "gumbel"], "seeds": [3, 1]})
    expected = product(record["architectures"], ["softmax", "gumbel"], [3, 1])
    assert [(cell.architecture, cell.activation, cell.seed) for cell in matrix.cells(experiment)] == list(expected)


def test_the_embedded_and_the_full_experiment_have_the_fifteen_cells_of_the_paper():
    for path in EXPERIMENTS:
        if path.stem in ("mini", "lvis"):
            assert len(set(matrix.cells(matrix.load(path)))) == 15


def test_a_cell_is_found_by_its_names_and_any_other_is_refused_with_the_known_ones(record):
    experiment = matrix.parse(record)
    assert matrix.cell(experiment, "htc_r101", "gumbel", "0") == matrix.Cell("htc_r101", "gumbel", 0)
    for names in [("htc_r101", "gumble", "0"), ("htc_r101", "gumbel", "1"), ("htc_r101", "gumbel", "00")]:
        with pytest.raises(ValueError, match=r"(?s)htc_r101/gumbel/seed0\n.*found .*correct the path"):
            matrix.cell(experiment, *names)


def test_only_named_activations_are_also_scored_as_released(record):
    experiment = matrix.parse(record)
    assert matrix.scorings(experiment, "sigmoid") == ["matched", "released"]
    assert matrix.scorings(experiment, "gumbel") == ["matched"]


def test_the_evidence_of_a_cell_is_the_first_split_under_every_scoring_and_the_others_as_trained(record):
    experiment = matrix.parse(record)
    evidence = [str(path) for path in matrix.evidence(experiment, matrix.cell(experiment, "htc_r101", "sigmoid", 0))]
    root = "results/mini/htc_r101/sigmoid/seed0/"
    assert all(path.startswith(root) for path in evidence)
    scored = ["metrics/val/matched", "metrics/val/released", "metrics/val_uniform/matched"]
    assert sorted(f"{root}{name}.json" for name in scored) == sorted(
        path for path in evidence if "metrics" in path and path.endswith(".json")
    )
    assert set(evidence) >= {f"{root}{name}.per_category.parquet" for name in scored}
    assert set(evidence) >= {
        f"{root}train/manifest.json",
        f"{root}train/history.parquet",
        f"{root}weight_norms.parquet",
    }
    assert len(set(evidence)) == len(evidence)
