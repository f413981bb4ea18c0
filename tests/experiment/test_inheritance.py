"""An experiment states what is different from its base; schedule and repeat-factor sampling are its recipe's."""

from pathlib import Path

import pytest
import yaml

from gumbel.experiment import inheritance, matrix
from gumbel.experiment.inheritance import recipes
from gumbel.paths import CONFIGS

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
R50 = {"architectures": ["mask_rcnn_r50"], "cells": {}}
BIAS = {"softmax": -6.5, "sigmoid": -6.5, "gumbel": -2.0}
#: What each experiment does otherwise than lvis, all of it, beside name and description.
DIFFERENCES = {
    "lvis_2x": {**R50, "recipe": "2x", "schedule": "schedule_2x"},
    "lvis_rfs": {**R50, "recipe": "1x_rfs", "schedule": "schedule_1x_rfs", "oversample": 0.001},
    "lvis_2x_rfs": {**R50, "recipe": "2x_rfs", "schedule": "schedule_2x_rfs", "oversample": 0.001},
    "pilot": {
        **R50,
        "reproduction": False,
        "schedule": "schedule_pilot",
        "subset": {"images_per_category": 101},
    },
    "gol": {
        "recipe": "gol",
        "schedule": "schedule_2x_rfs",
        "oversample": 0.001,
        "architectures": ["mask_rcnn_r50", "mask_rcnn_r101"],
        "activations": ["gumbel"],
        "released_scoring": [],
        "cells": {},
        "classifier": {"weight": 0.001, "other_layers": "pytorch", "bias": {"gumbel": -2.0}, "prior": 0.01},
        "gol": {"drop_below": 0.0011, "normed_masks": True, "polygons": True, "nms": 0.3},
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(**keys: object) -> dict[str, object]:
    """An experiment with these keys and a base."""
    return {"base": "lvis", "name": "own", "description": "Mine.", **keys}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_an_experiment_on_lvis_differs_from_lvis_in_what_it_states_and_nothing_else(name):
    found = matrix.load(CONFIGS / "experiments" / f"{name}.yaml").model_dump(mode="json")
    named = {key: found[key] for key in ("name", "description")}
    assert found == LVIS.model_dump(mode="json") | DIFFERENCES[name] | named
    assert named["description"] != LVIS.description


def test_lvis_is_the_papers_matrix():
    assert (LVIS.schedule, LVIS.oversample, LVIS.batch) == ("schedule_1x", 0.0, 16)
    assert LVIS.classifier.bias == BIAS
    assert set(LVIS.cells) == {"mask_rcnn_x101/softmax", "mask_rcnn_x101/sigmoid", "htc_r101"}


def test_a_key_goes_over_the_bases_whole(folder):
    found = matrix.parse(own(classifier={"prior": 0.02}))
    assert found.classifier.bias == {}
    assert found == matrix.parse(
        LVIS.model_dump(mode="json") | {"name": "own", "description": "Mine.", "classifier": {"prior": 0.02}}
    )


@pytest.mark.parametrize("key", ["name", "description"])
def test_an_experiment_has_a_name_and_a_description_of_its_own(key):
    record = own()
    del record[key]
    with pytest.raises(ValueError, match=f"{key}: expected a value; found none"):
        matrix.parse(record)


def test_a_base_may_be_a_file_and_have_a_base(folder):
    Path("mine.yaml").write_text(yaml.safe_dump(own(seeds=[3], gpus=2)))
    found = matrix.parse(own(base="mine.yaml", gpus=4))
    assert (found.seeds, found.gpus, found.cells) == ([3], 4, LVIS.cells)


def test_a_base_that_leads_back_to_itself_is_refused(folder):
    Path("one.yaml").write_text("base: two.yaml")
    Path("two.yaml").write_text("base: one.yaml")
    with pytest.raises(ValueError, match=r"found two.yaml of one.yaml of two.yaml; break the loop"):
        matrix.load(Path("one.yaml"))


@pytest.mark.parametrize(
    ("base", "message"), [("lvsi", "one of gol, lvis,.*found 'lvsi'"), ("list", "found \\['a'\\]")]
)
def test_a_base_that_is_no_experiment_is_refused(folder, base, message):
    Path("list").write_text("- a")
    with pytest.raises(ValueError, match=f"is not a valid experiment(?s:.*){message}"):
        matrix.parse(own(base=base))


def test_a_recipe_implies_schedule_and_repeat_factor_sampling():
    for name, recipe in recipes().items():
        found = matrix.parse(own(recipe=name))
        assert (found.schedule, found.oversample) == (recipe.schedule, recipe.oversample)
    assert {recipe.oversample for recipe in recipes().values() if "rfs" in recipe.schedule} == {0.001}


@pytest.mark.parametrize("change", [{"schedule": "schedule_1x"}, {"oversample": 0.0}, {"oversample": 0.002}])
def test_a_reproduction_cannot_disagree_with_its_recipe_and_others_may(change):
    ((key, value),) = change.items()
    with pytest.raises(
        ValueError, match=f"{key}: expected .* in a reproduction of recipe 1x_rfs, found {value}; leave"
    ):
        matrix.parse(own(recipe="1x_rfs", **change))
    assert getattr(matrix.parse(own(recipe="1x_rfs", reproduction=False, **change)), key) == value


@pytest.mark.parametrize("dataset", ["mini", "coco"])
def test_a_reproduction_on_other_data_than_the_released_recipes_is_refused_and_others_may_be(folder, dataset):
    data = {split: {"annotations": f"{split}.json", "images": "."} for split in ("train", "val")}
    for split in data:
        Path(f"{split}.json").write_text('{"categories": [{"id": 0, "name": "a"}], "images": [], "annotations": []}')
    record = own(dataset=dataset, data_root=".", data={"splits": data} if dataset == "coco" else {})
    with pytest.raises(
        ValueError, match=f"dataset: expected lvis_v1 in a reproduction, .*found {dataset}; set `reproduction: false`"
    ):
        matrix.parse(record)
    assert matrix.parse(record | {"reproduction": False}).dataset == dataset


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"recipe: expected one of 1x, .*gol; found '3x'"):
        matrix.parse(own(recipe="3x"))


def test_a_mistake_in_another_key_is_named_alone():
    with pytest.raises(ValueError, match=r"experiment:\n  name: .*\nCorrect it"):
        matrix.parse(own(name="../own"))


def test_an_experiment_is_found_by_its_name_and_a_file_goes_before_it(folder):
    assert inheritance.find("lvis") == CONFIGS / "experiments" / "lvis.yaml"
    Path("lvis").write_text("")
    assert inheritance.find("lvis") == Path("lvis")
