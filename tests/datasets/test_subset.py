"""The part of the training images in which every category keeps its place in the tail."""

import json
from collections import defaultdict

import numpy as np
import pytest

from gumbel.datasets.annotations import frequency
from gumbel.datasets.subset import choose, rank, write_subset
from gumbel.experiment import matrix
from gumbel.paths import CONFIGS

PER_CATEGORY = 101


def long_tail(images: int = 2000, categories: int = 40) -> dict[int, set[int]]:
    """Images of each category, from 1 to half of all, drawn independently."""
    draw = np.random.default_rng(0)
    counts = np.geomspace(1, images / 2, categories).round().astype(int)
    ids = 139 + 7 * np.arange(images)
    return {k + 1: set(draw.choice(ids, count, replace=False).tolist()) for k, count in enumerate(counts)}


@pytest.fixture
def annotations(tmp_path):
    """An LVIS-shaped file of :func:`long_tail`; of a category an image shows its id modulo 3, plus 1, instances."""
    shown = long_tail()
    pairs = [
        (category, image)
        for category, images in shown.items()
        for image in sorted(images)
        for _ in range(category % 3 + 1)
    ]
    record = {
        "info": {"year": 2020},
        "annotations": [
            {"id": k + 1, "image_id": image, "category_id": category, "bbox": [0.5, 1, 2, 3]}
            for k, (category, image) in enumerate(pairs)
        ],
        "images": [{"id": 139 + 7 * k, "neg_category_ids": [k % 40 + 1]} for k in range(2000)],
        "licenses": [],
        "categories": [
            {"id": category, "name": f"c{category}", "frequency": frequency(len(images)), "image_count": len(images)}
            for category, images in shown.items()
        ],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(record))
    return path


def test_every_category_keeps_its_images_up_to_the_limit_and_its_frequency_group():
    shown = long_tail()
    kept = choose(shown, PER_CATEGORY)
    assert len(kept) < 2000
    for images in shown.values():
        left = len(images & kept)
        assert left == len(images) if len(images) <= PER_CATEGORY else left >= PER_CATEGORY
        assert frequency(left) == frequency(len(images))


def test_nothing_is_kept_that_no_category_asked_for():
    """Without an image's worth of every category that keeps it, that image is the one that goes."""
    shown = long_tail()
    ranks = {image: rank(image) for images in shown.values() for image in images}
    for image in choose(shown, PER_CATEGORY):
        asked = [images for images in shown.values() if image in images]
        assert any(sum(ranks[other] < ranks[image] for other in images) < PER_CATEGORY for images in asked)


def test_the_choice_is_published_it_depends_on_the_ids_alone():
    """Frozen: another order would be another subset under the same name."""
    images = list(range(1, 13))
    assert sorted(choose({1: images}, 4)) == sorted(choose({1: images[::-1]}, 4)) == [4, 8, 9, 10]


def test_the_file_holds_the_chosen_images_whole_and_counts_itself(annotations, tmp_path):
    counts = write_subset(annotations, PER_CATEGORY, tmp_path / "subset.json")
    whole, part = (json.loads(path.read_text()) for path in (annotations, tmp_path / "subset.json"))
    kept = choose(long_tail(), PER_CATEGORY)
    assert part["images"] == [image for image in whole["images"] if image["id"] in kept]
    assert part["annotations"] == [each for each in whole["annotations"] if each["image_id"] in kept]
    images = defaultdict(set)
    for each in part["annotations"]:
        images[each["category_id"]].add(each["image_id"])
    for category, before in zip(part["categories"], whole["categories"], strict=True):
        assert (category["id"], category["name"], category["frequency"]) == (
            before["id"],
            before["name"],
            before["frequency"],
        )
        assert category["image_count"] == len(images[category["id"]])
        assert category["instance_count"] == len(images[category["id"]]) * (category["id"] % 3 + 1)
    assert counts == {"images": len(kept), "annotations": len(part["annotations"]), "categories": 40}


def test_the_pilots_limit_keeps_every_group_of_lvis():
    """r has at most 10 training images, c at most 100: a limit above 100 moves no category to another group."""
    pilot = matrix.load(CONFIGS / "experiments" / "pilot.yaml")
    assert frequency(pilot.subset.images_per_category) == "f"
    assert pilot.train_split == f"train_{pilot.subset.images_per_category}_per_category"
    assert pilot.reproduction is False
