"""Files that people bring: every stage says the same of what is no annotation, and reads what is, packed or not."""

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gumbel.analysis import object_distribution, weight_norms
from gumbel.datasets import subset
from gumbel.datasets.coco import provide
from gumbel.datasets.lvis_v1 import checks
from gumbel.evaluation import ground_truth
from gumbel.evaluation.predictions import read_predictions
from tests.evaluation import federated


def whole_truth(path: Path) -> tuple:
    """All that is read, without the text of polygons, which has no ``repr``."""
    truth = ground_truth.read_ground_truth(path)
    return truth.images, truth.categories, truth.objects, truth.segmentations, truth.other_images


#: What reads annotations, and the fields that it asks for.
STAGES = {
    "evaluate": (whole_truth, ground_truth._FIELDS),
    "object-distribution": (lambda path: object_distribution.object_distribution(path, 4), object_distribution._FIELDS),
    "weight-norms": (weight_norms.read_categories, {"categories": weight_norms._CATEGORY}),
    "subset": (lambda path: subset.write_subset(path, 1, path.with_name("subset.json")), subset._FIELDS),
    "own data": (provide.read, provide.FIELDS),
    "LVIS": (lambda path: checks._scan(path), checks._FIELDS),
}


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", "{}")


#: How a file that is something else is made, and what it is called.
OTHERS = {
    "zip": (zipped, "a zip archive: unpack it"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([{"pred": np.ones(3)}])), "mmdet's: not read; export JSON"),
    "lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid 4d\n"),
        "git lfs pull",
    ),
    "page": (lambda path: path.write_text("\n<!DOCTYPE html><html>" + "x" * 9000), "a web page"),
    "utf-16": (lambda path: path.write_text("{}", encoding="utf-16"), "save it in UTF-8"),
    "empty": (lambda path: path.write_text(""), "an empty file"),
    "cut": (lambda path: path.write_text('{"images": [{"id": 1'), "damaged, truncated"),
    "cut gzip": (lambda path: path.write_bytes(gzip.compress(b"[" + bytes(range(200)) * 9)[:-90]), "truncated"),
}
PARQUET = {"parquet": (lambda path: pq.write_table(pa.table({"a": [1]}), path), "a Parquet file")}
NAN = {"nan": (lambda path: path.write_text('{"images": [{"id": NaN}]}'), "expected finite numbers")}


def refusal(read, path: Path) -> str:
    """What is said of a file: one line, not long, that names it."""
    with pytest.raises(ValueError, match=path.name) as error:
        read(path)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 700 + len(str(path))
    return message


@pytest.mark.parametrize("other", OTHERS | PARQUET | NAN)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_a_file_is_that_is_no_annotations(tmp_path, stage, other):
    make, words = (OTHERS | PARQUET | NAN)[other]
    make(tmp_path / "given.json")
    assert words in refusal(STAGES[stage][0], tmp_path / "given.json")


@pytest.mark.parametrize("other", OTHERS)
def test_predictions_that_are_something_else_are_called_the_same(tmp_path, other):
    make, words = OTHERS[other]
    make(tmp_path / "given.json")
    assert words in refusal(read_predictions, tmp_path / "given.json")


@pytest.mark.parametrize("stage", STAGES)
def test_predictions_in_the_place_of_annotations_are_named(tmp_path, stage):
    (tmp_path / "given.json").write_text(json.dumps([{"image_id": 1, "boxes": [[1.5] * 4] * 900}] * 9))
    assert "a list" in refusal(STAGES[stage][0], tmp_path / "given.json")


def test_annotations_in_the_place_of_predictions_are_named(tmp_path):
    (tmp_path / "given.json").write_text(json.dumps(record()))
    assert "expected a list of detections" in refusal(read_predictions, tmp_path / "given.json")


def record() -> dict:
    """Annotations that every stage takes."""
    truth, _ = federated.generate(0)
    for image in truth["images"]:
        image |= {"file_name": f"{image['id']}.png", "coco_url": f"http://images.cocodataset.org/val/{image['id']}.png"}
    return truth


@pytest.mark.parametrize("stage", STAGES)
def test_packed_annotations_and_those_with_a_byte_order_mark_are_read_as_they_are_plain(tmp_path, stage):
    text = json.dumps(record()).encode()
    contents = {"a.json": text, "b.json.gz": gzip.compress(text), "c.json": b"\xef\xbb\xbf" + text}
    found = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found.append(repr(STAGES[stage][0](tmp_path / name)))
    assert found[0] == found[1] == found[2]


NESTED = [[[{"a": [list(range(99))] * 9}] * 9] * 2] * 2
NO_ID = [None, True, 1.0, "1", 2**63, 10**30, NESTED]
WRONG = dict.fromkeys(("id", "image_id", "category_id"), NO_ID) | {
    name: [[value] for value in NO_ID] + [None] for name in ("neg_category_ids", "not_exhaustive_category_ids")
}
WRONG |= {
    "segmentation": [None, {"a": 1}, "x"],
    "bbox": [None, [1, 2, 3], [1, 2, 3, None], [1, 2, 3, True]],
    "height": [None, 0, 1.5, True],
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_refuses_an_entry_that_lacks_a_field_or_has_another_thing_there(tmp_path, stage):
    read, fields = STAGES[stage]
    path = tmp_path / "given.json"
    for key, names in fields.items():
        for name in names:
            for wrong in WRONG.get(name, [None, {"a": 1}, NESTED]):
                changed = record()
                changed[key][1][name] = wrong
                path.write_text(json.dumps(changed))
                message = refusal(read, path)
                assert f"`{name}` in every entry of `{key}`" in message, (name, wrong)
            del changed[key][1][name]
            path.write_text(json.dumps(changed))
            assert f"expected `{name}` in every entry of `{key}`" in refusal(read, path)


@pytest.mark.parametrize("wrong", [None, True, 1.0, "1", 2**63, NESTED])
@pytest.mark.parametrize("name", ["image_id", "category_id"])
def test_predictions_have_whole_numbers_as_ids(tmp_path, name, wrong):
    one = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 1, 2, 2]}
    (tmp_path / "given.json").write_text(json.dumps([one, one | {name: wrong}]))
    assert f"`{name}`" in refusal(read_predictions, tmp_path / "given.json")


@pytest.mark.parametrize("content", [[1, True], [1.0], ["1"], [[1]], 3, {"images": [{"id": None}]}, {"ids": [1]}])
def test_lists_of_images_hold_whole_numbers(tmp_path, content):
    (tmp_path / "truth.json").write_text(json.dumps(record()))
    (tmp_path / "given.json").write_text(json.dumps(content))
    refusal(lambda path: ground_truth.read_ground_truth(tmp_path / "truth.json", path), tmp_path / "given.json")
