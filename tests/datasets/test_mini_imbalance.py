"""The embedded data with one tail of a given slope: against the closed form, and from level to level."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gumbel.datasets.mini import MiniData, longtail
from gumbel.datasets.mini import generate as mini
from gumbel.datasets.mini.pictures import things

SMALL = MiniData(
    seed=3,
    image_size=64,
    categories=24,
    drawings=1,
    train_images=40,
    val_images=12,
    warm_start_images=4,
    warm_start_categories=4,
)
LEVELS = (1, 10, 20)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    folder = tmp_path_factory.mktemp("levels")
    for level in LEVELS:
        mini.generate(SMALL.model_copy(update={"imbalance": level}), folder / str(level))
    return {level: folder / str(level) for level in LEVELS}


def read(root: Path, split: str) -> dict:
    return json.loads((root / f"{split}.json").read_text())


@pytest.mark.parametrize("imbalance", [1, 10, 100, 1000])
def test_counts_are_geometric_and_sum_to_the_same(imbalance):
    counts = longtail.imbalanced_counts(45, 1400, imbalance)
    assert sum(counts) == 5 * 1400
    assert counts == sorted(counts, reverse=True)
    ratio = imbalance ** (-1 / 44)
    first = 7000 / sum(ratio**k for k in range(45))
    assert max(abs(count - first * ratio**k) for k, count in enumerate(counts)) < 1


@pytest.mark.parametrize(("categories", "imbalance"), [(45, 1000), (150, 100), (290, 100)])
def test_as_many_images_show_a_category_as_are_asked_for(categories, imbalance):
    counts = longtail.imbalanced_counts(categories, 1400, imbalance)
    scenes = longtail.assign(counts, 1400, np.random.default_rng(0))
    found = Counter(category for scene in scenes for category in scene)
    assert [found[k] for k in range(categories)] == counts
    assert all(len(set(scene)) == len(scene) <= 7 for scene in scenes)


@pytest.mark.parametrize(("categories", "images", "imbalance"), [(45, 1300, 1000), (6, 100, 10)])
def test_a_tail_that_has_no_place_is_refused(categories, images, imbalance):
    with pytest.raises(ValueError, match=rf"expected 1 to {images} images of every category.*lower mini\.imbalance"):
        longtail.imbalanced_counts(categories, images, imbalance)


def test_the_slope_changes_neither_the_number_of_objects_nor_their_categories(roots):
    records = [read(root, "train") for root in roots.values()]
    assert len({len(record["annotations"]) for record in records}) == 1
    assert len({len(record["images"]) for record in records}) == 1
    assert len({tuple(c["id"] for c in record["categories"]) for record in records}) == 1
    for level, record in zip(LEVELS, records, strict=True):
        counts = [c["image_count"] for c in record["categories"]]
        assert max(counts) / min(counts) == pytest.approx(level, rel=0.3)  # whole numbers


def test_categories_are_in_the_same_order_of_frequency_at_every_slope(roots):
    counts = {level: [c["image_count"] for c in read(root, "train")["categories"]] for level, root in roots.items()}
    pairs = list(zip(counts[20], counts[10], counts[1], strict=True))
    assert not [(a, b) for a in pairs for b in pairs if a[0] > b[0] and (a[1] < b[1] or a[2] < b[2])]


@pytest.mark.parametrize("split", ["val", "val_uniform", "warm_start"])
def test_val_is_the_same_at_every_slope_and_balanced(roots, split):
    shown = {root: {p.name: p.read_bytes() for p in (root / "images" / split).iterdir()} for root in roots.values()}
    first, *others = roots.values()
    for other in others:
        assert shown[other] == shown[first]
        assert [read(other, split)[key] for key in ("images", "annotations")] == [
            read(first, split)[key] for key in ("images", "annotations")
        ]
    seen = Counter(category for category, _ in {
        (a["category_id"], a["image_id"]) for a in read(first, split)["annotations"]
    })  # fmt: skip
    assert max(seen.values()) - min(seen.values()) <= 2  # some objects are not annotated


def test_counts_and_letters_of_val_are_those_of_training(roots):
    for root in roots.values():
        assert read(root, "val")["categories"] == read(root, "train")["categories"]
    assert {c["frequency"] for c in read(roots[1], "val")["categories"]} == {"r"}  # 200 objects of 24 categories


def test_few_categories_are_among_many():
    few, many = (
        {thing.id for thing in longtail.choose_any(things(), number, np.random.default_rng(7))} for number in (45, 290)
    )
    assert few < many
    with pytest.raises(ValueError, match="at most 295 categories"):
        longtail.choose_any(things(), 296, np.random.default_rng(7))


def test_without_the_setting_the_plan_and_the_record_are_as_they_were_before_it_was_there():
    """Pinned: of the version before."""
    plan = mini._plan(MiniData(seed=3, categories=12, train_images=24, val_images=12, warm_start_categories=8))
    names = ["backpack", "mouse_(computer_equipment)", "truck", "salad", "crown", "owl", "sushi", "ambulance", "puppy"]
    assert [thing.name for thing in plan[0].shown] == [*names, "snake", "gorilla", "dove"]
    train, val = (Counter(category for scene in split.assigned for category in scene) for split in plan[:2])
    assert sorted(train.values()) == [1, 1, 2, 2, 3, 4, 6, 9, 16, 20, 24, 24]
    assert sorted(val.values()) == [5, 5, 5, 5, 5, 5, 5, 6, 7, 8, 9, 9]
    assert plan[0].assigned[:3] == [[0, 1, 2, 3, 4, 10], [0, 1, 2, 3, 4, 5, 7], [0, 1, 2, 3, 4, 5]]


def test_the_record_of_data_without_the_setting_does_not_name_it(tmp_path):
    mini.generate(SMALL, tmp_path / "mini")
    assert "imbalance" not in json.loads((tmp_path / "mini" / "checksums.json").read_text())["spec"]
