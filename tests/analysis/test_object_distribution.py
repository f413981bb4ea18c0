"""The object distribution against a count object by object, and its statistics against their definitions."""

import json
from collections import defaultdict

import numpy as np
import pytest
import scipy.stats

from gumbel.analysis.object_distribution import group_statistics, load, object_distribution, save

GRID = 4
FREQUENCIES = ["r", "f", "c", "f", "r"]


def annotations(seed, images=30, objects=120):
    rng = np.random.default_rng(seed)
    sizes = {int(k): tuple(rng.integers(50, 300, 2).tolist()) for k in rng.permutation(1000)[:images]}
    record = {
        "info": {"year": 2026},
        "annotations": [],
        "images": [{"id": key, "width": w, "height": h} for key, (w, h) in sizes.items()],
        "categories": [{"id": 30 - 3 * k, "frequency": letter} for k, letter in enumerate(FREQUENCIES)],
    }
    ids = [30 - 3 * k for k in range(4)]  # the last category has no object
    for _ in range(objects):
        image = int(rng.choice(list(sizes)))
        width, height = sizes[image]
        w, h = rng.uniform(1, [width, height]) / 2
        box = [float(rng.uniform(0, width - w)), float(rng.uniform(0, height - h)), float(w), float(h)]
        record["annotations"].append({"image_id": image, "category_id": int(rng.choice(ids)), "bbox": box})
    return record


def write(path, record):
    path.write_text(json.dumps(record))
    return path


@pytest.fixture(params=[0, 1])
def case(request, tmp_path):
    record = annotations(request.param)
    return record, object_distribution(write(tmp_path / "t.json", record), GRID)


def counted(record):
    """Images in which a centre of the class lies in the cell, found one object at a time."""
    size = {image["id"]: (image["width"], image["height"]) for image in record["images"]}
    cells = defaultdict(set)
    for one in record["annotations"]:
        (x, y, w, h), (width, height) = one["bbox"], size[one["image_id"]]
        row, column = int((y + h / 2) / height * GRID), int((x + w / 2) / width * GRID)
        cells[one["category_id"], row, column].add(one["image_id"])
    return cells


def test_probability_is_the_share_of_images_with_a_centre_in_the_cell(case):
    record, distribution = case
    cells = counted(record)
    ids = distribution["category_id"].tolist()
    assert ids == sorted(category["id"] for category in record["categories"])
    for k, category in enumerate(ids):
        for row in range(GRID):
            for column in range(GRID):
                expected = len(cells[category, row, column]) / len(record["images"])
                assert distribution["probability"][k, row, column] == expected


def test_expected_value_is_the_mean_over_cells(case):
    _, distribution = case
    assert distribution["expected"] == pytest.approx(distribution["probability"].mean(axis=(1, 2)))


def test_image_counts_are_the_images_that_show_the_class(case):
    record, distribution = case
    for k, category in enumerate(distribution["category_id"]):
        shown = {one["image_id"] for one in record["annotations"] if one["category_id"] == category}
        assert distribution["image_count"][k] == len(shown)
        assert distribution["image_probability"][k] == len(shown) / len(record["images"])


def test_location_entropy_is_normalised_shannon_entropy(case):
    _, distribution = case
    for k, probability in enumerate(distribution["probability"].reshape(-1, GRID * GRID)):
        expected = scipy.stats.entropy(probability, base=GRID * GRID) if probability.any() else np.nan
        assert distribution["location_entropy"][k] == pytest.approx(expected, nan_ok=True)


def test_classes_without_objects_have_probability_zero(case):
    _, distribution = case
    assert distribution["category_id"][0] == 18  # the category without objects
    assert not distribution["probability"][0].any()
    assert distribution["expected"][0] == 0


def test_groups_are_means_over_their_classes(case):
    _, distribution = case
    statistics = group_statistics(distribution)
    for name, letter in (("rare", "r"), ("common", "c"), ("frequent", "f")):
        rows = [k for k, frequency in enumerate(distribution["frequency"]) if frequency == letter]
        assert statistics[name]["categories"] == len(rows)
        assert statistics[name]["expected"] == pytest.approx(np.mean([distribution["expected"][k] for k in rows]))
        largest = np.mean([distribution["probability"][k].max() for k in rows])
        assert statistics[name]["largest"] == pytest.approx(largest)
    entropy = scipy.stats.entropy(distribution["image_count"], base=len(FREQUENCIES))
    assert statistics["all"]["class_imbalance"] == pytest.approx(1 - entropy)


def test_order_of_the_file_changes_nothing(tmp_path):
    record = annotations(2)
    shuffled = dict(reversed(record.items())) | {"annotations": record["annotations"][::-1]}
    one, other = (object_distribution(write(tmp_path / name, x), GRID) for name, x in (("a", record), ("b", shuffled)))
    assert all(np.array_equal(one[key], other[key], equal_nan=one[key].dtype.kind == "f") for key in one)


def test_ids_may_be_larger_than_what_float64_holds(tmp_path):
    record = annotations(0)
    expected = object_distribution(write(tmp_path / "t.json", record), GRID)
    for entry in [*record["images"], *record["categories"]]:
        entry["id"] += 2**62
    for entry in record["annotations"]:
        entry["image_id"] += 2**62
        entry["category_id"] += 2**62
    found = object_distribution(write(tmp_path / "t.json", record), GRID)
    assert (found.pop("category_id") - 2**62).tolist() == expected.pop("category_id").tolist()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_centres_on_the_far_border_belong_to_the_last_cell(tmp_path):
    record = annotations(0, objects=0)
    image = record["images"][0]
    box = [image["width"], image["height"], 0, 0]
    record["annotations"] = [{"image_id": image["id"], "category_id": 30, "bbox": box}]
    probability = object_distribution(write(tmp_path / "t.json", record), GRID)["probability"]
    assert np.argwhere(probability).tolist() == [[4, GRID - 1, GRID - 1]]


def test_saved_distribution_comes_back(tmp_path, case):
    _, distribution = case
    save(tmp_path / "d.npz", distribution)
    loaded = load(tmp_path / "d.npz")
    assert loaded.keys() == distribution.keys()
    assert all(
        np.array_equal(loaded[key], value, equal_nan=value.dtype.kind == "f") for key, value in distribution.items()
    )


def test_other_archives_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", probability=np.zeros(1))
    with pytest.raises(ValueError, match="found no"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["annotations"][0].update(image_id=-1), "known image and category"),
        (lambda record: record["annotations"][0].update(category_id=-1), "known image and category"),
        (lambda record: record["annotations"][0].pop("bbox"), "`bbox` in every entry of `annotations`"),
        (lambda record: record["categories"][0].pop("frequency"), "`frequency` in every entry of `categories`"),
        (lambda record: record.pop("categories"), "a list `categories` .* found none"),
        (lambda record: record.pop("images"), "a list `images` .* found none"),
    ],
)
def test_files_that_are_not_lvis_are_refused(tmp_path, change, message):
    record = annotations(0)
    change(record)
    with pytest.raises(ValueError, match=message):
        object_distribution(write(tmp_path / "t.json", record), GRID)
