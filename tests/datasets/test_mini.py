"""The embedded data against independent readers: pycocotools, the official lvis package, mmdet, and recounting."""

import csv
import hashlib
import json
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gumbel.datasets.annotations import polygons
from gumbel.datasets.lvis_v1 import CATEGORIES
from gumbel.datasets.mini import SPLITS, MiniData, longtail, scenes
from gumbel.datasets.mini import generate as mini
from gumbel.datasets.mini.artists import artists
from gumbel.datasets.mini.pictures import PICTURES, drawings, things

SMALL = MiniData(
    seed=3,
    image_size=96,
    categories=12,
    drawings=1,
    train_images=24,
    val_images=12,
    warm_start_images=16,
    warm_start_categories=8,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The embedded data at its default size, with the drawings that need no npm."""
    root = tmp_path_factory.mktemp("data") / "mini"
    mini.generate(MiniData(drawings=1), root)
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "mini"
    mini.generate(SMALL, root)
    return root


@pytest.fixture(scope="module")
def splits(whole):
    return {split: json.loads((whole / f"{split}.json").read_text()) for split in SPLITS}


def tree(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def images_per_category(record):
    seen = defaultdict(set)
    for a in record["annotations"]:
        seen[a["category_id"]].add(a["image_id"])
    return {c["id"]: len(seen[c["id"]]) for c in record["categories"]}


def decoded(annotation, side):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], side, side))) > 0


# --- the same specification, the same bytes -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(small, tmp_path):
    mini.generate(SMALL, tmp_path / "mini")
    assert tree(tmp_path / "mini") == tree(small)


def test_another_seed_gives_other_scenes(small, tmp_path):
    mini.generate(SMALL.model_copy(update={"seed": 4}), tmp_path / "mini")
    assert tree(tmp_path / "mini").keys() == tree(small).keys()
    pixels = [json.loads((root / "checksums.json").read_text())["pixels"] for root in (small, tmp_path / "mini")]
    assert all(pixels[0][split] != pixels[1][split] for split in SPLITS)


def test_checksums_are_those_of_the_files_and_of_the_decoded_pixels(whole, splits):
    sums = json.loads((whole / "checksums.json").read_text())
    for split in SPLITS:
        assert sums["files"][f"{split}.json"] == hashlib.sha256((whole / f"{split}.json").read_bytes()).hexdigest()
        pixels = hashlib.sha256()
        for image in splits[split]["images"]:
            picture = cv2.imread(str(whole / "images" / split / f"{image['id']:012d}.png"))
            assert picture.shape == (image["height"], image["width"], 3)
            pixels.update(picture.tobytes())
        assert sums["pixels"][split] == pixels.hexdigest()


# --- whole or absent ------------------------------------------------------------------------------------------


def interrupt_after(monkeypatch, calls):
    written = []
    imwrite = cv2.imwrite

    def failing(*arguments):
        written.append(arguments)
        if len(written) > calls:
            raise KeyboardInterrupt
        return imwrite(*arguments)

    monkeypatch.setattr(cv2, "imwrite", failing)


def test_an_interrupted_generation_leaves_nothing_under_the_name(monkeypatch, tmp_path):
    interrupt_after(monkeypatch, 30)
    with pytest.raises(KeyboardInterrupt):
        mini.generate(SMALL, tmp_path / "mini")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_generation_leaves_the_earlier_one_untouched(monkeypatch, tmp_path):
    mini.generate(SMALL, tmp_path / "mini")
    before = tree(tmp_path)
    interrupt_after(monkeypatch, 30)
    with pytest.raises(KeyboardInterrupt):
        mini.generate(SMALL.model_copy(update={"seed": 9}), tmp_path / "mini")
    assert tree(tmp_path) == before


def test_what_killed_processes_and_snakemake_leave_behind_is_replaced(small, tmp_path):
    for leftover in (".mini.partial/images/train/junk.png", ".mini.replaced/junk", "mini/images/.snakemake_timestamp"):
        (tmp_path / leftover).parent.mkdir(parents=True)
        (tmp_path / leftover).write_text("junk")
    mini.generate(SMALL, tmp_path / "mini")
    assert tree(tmp_path / "mini") == tree(small)
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        mini.generate(SMALL, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


# --- categories, counts and groups ----------------------------------------------------------------------------


def test_categories_are_true_lvis_ones_sorted_by_id(splits):
    with CATEGORIES.open(newline="") as file:
        official = {int(row["id"]): row for row in csv.DictReader(file)}
    assert len(official) == 1203
    for record in splits.values():
        ids = [c["id"] for c in record["categories"]]
        assert ids == sorted(set(ids))
        assert all(official[c["id"]]["name"] == c["name"] for c in record["categories"])
        assert all(official[c["id"]]["synset"] == c["synset"] for c in record["categories"])


def test_every_category_and_every_picture_is_used_once():
    pictured = things()
    assert len({thing.name for thing in pictured}) == len({thing.hexcode for thing in pictured}) == len(pictured)
    with PICTURES.open() as file:
        assert len(pictured) == len(file.readlines()) - 1


def test_train_val_and_val_uniform_share_one_category_list(splits):
    assert splits["train"]["categories"] == splits["val"]["categories"] == splits["val_uniform"]["categories"]


def test_warm_start_shows_no_category_of_train(splits):
    train, warm = ({c["id"] for c in splits[split]["categories"]} for split in ("train", "warm_start"))
    assert train.isdisjoint(warm)
    assert len(warm) == MiniData().warm_start_categories


@pytest.mark.parametrize("split", ["train", "warm_start"])
def test_frequency_follows_the_official_thresholds_on_counted_images(splits, split):
    counted = images_per_category(splits[split])
    instances = Counter(a["category_id"] for a in splits[split]["annotations"])
    for c in splits[split]["categories"]:
        images = counted[c["id"]]
        assert (c["image_count"], c["instance_count"]) == (images, instances[c["id"]])
        assert images >= 1
        assert c["frequency"] == ("r" if images <= 10 else "c" if images <= 100 else "f")


def test_groups_are_in_the_proportions_of_lvis(splits):
    groups = Counter(c["frequency"] for c in splits["train"]["categories"])
    assert groups.total() == MiniData().categories
    for group, size in {"r": 337, "c": 461, "f": 405}.items():
        assert abs(groups[group] - groups.total() * size / 1203) < 1


def test_each_category_is_in_the_group_it_has_in_lvis(splits):
    official = {thing.id: thing.frequency for thing in things()}
    assert all(c["frequency"] == official[c["id"]] for c in splits["train"]["categories"])


def test_each_group_has_a_tail_of_its_own(splits):
    for group in "rcf":
        counts = [c["image_count"] for c in splits["train"]["categories"] if c["frequency"] == group]
        assert max(counts) >= 1.9 * min(counts)
        assert np.mean(counts) > np.median(counts)


def test_val_shows_every_category_at_least_five_times(splits):
    for split in ("val", "val_uniform"):
        assert min(images_per_category(splits[split]).values()) >= 5


@pytest.mark.parametrize("seed", range(8))
def test_every_category_appears_in_exactly_as_many_images_as_asked(seed):
    rng = np.random.default_rng(seed)
    chosen = longtail.choose(things(), 45, rng)
    counts = longtail.train_counts(chosen, 800)
    assigned = longtail.assign(counts, 800, rng)
    assert all(len(set(scene)) == len(scene) <= 7 for scene in assigned)
    found = Counter(category for scene in assigned for category in scene)
    assert [found[i] for i in range(45)] == counts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": 300}, "lower mini.categories"),
        ({"warm_start_categories": 300}, "lower mini.warm_start_categories"),
        ({"train_images": 1}, "raise the number of images"),
    ],
)
def test_impossible_specifications_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        mini.generate(SMALL.model_copy(update=change), tmp_path / "mini")
    assert list(tmp_path.iterdir()) == []


def test_warm_start_may_be_empty(tmp_path):
    mini.generate(SMALL.model_copy(update={"warm_start_images": 0, "warm_start_categories": 0}), tmp_path / "mini")
    record = json.loads((tmp_path / "mini" / "warm_start.json").read_text())
    assert record["images"] == record["annotations"] == record["categories"] == []


# --- scenes and masks -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def composed():
    """Scenes of four things each: background, scene, visible masks."""
    rng = np.random.default_rng(0)
    pictured = things()
    found = []
    for _ in range(40):
        pictures = [
            drawing
            for i in rng.choice(len(pictured), 4, replace=False)
            for drawing in drawings(pictured[i], artists(None), most=1)
        ]
        looks = [scenes.draw_look(rng) for _ in pictures]
        background = scenes.draw_background(rng, 128)
        places = [lambda widen: rng.uniform(0, 1, 2)] * len(pictures)
        found.append((background, *scenes.compose(background, pictures, looks, places)))
    return found


def test_polygons_follow_the_visible_alpha_masks(composed):
    ious = []
    for _, _, masks in composed:
        for mask in masks:
            polygon = decoded({"segmentation": polygons(mask)}, 128)
            ious.append((mask & polygon).sum() / (mask | polygon).sum())
    assert np.mean(ious) >= 0.9
    assert np.quantile(ious, 0.05) >= 0.75


def test_visible_masks_do_not_overlap_and_cover_what_was_drawn(composed):
    for background, scene, masks in composed:
        total = np.sum(masks, axis=0)
        assert total.max() == 1
        changed = np.abs(scene - background).max(2) > 1
        around = cv2.dilate(total.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (changed & ~around).sum() <= 0.02 * changed.sum()  # soft edges of thin lines
        assert (total > 0)[changed].mean() > 0.8


def test_areas_and_boxes_are_those_of_the_encoded_masks_inside_the_image(splits):
    for record in splits.values():
        side = record["images"][0]["width"]
        for a in record["annotations"][::7]:
            mask = decoded(a, side)
            ys, xs = np.nonzero(mask)
            assert a["area"] == mask.sum()
            assert a["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        corners = np.concatenate([np.concatenate(a["segmentation"]) for a in record["annotations"]])
        assert corners.min() >= 0
        assert corners.max() <= side


def test_scenes_hold_three_to_seven_objects(splits):
    for record in splits.values():
        per_image = Counter(a["image_id"] for a in record["annotations"])
        assert per_image.keys() == {image["id"] for image in record["images"]}
        assert 3 <= min(per_image.values()) <= max(per_image.values()) <= 7


def test_annotation_ids_count_from_one(splits):
    for record in splits.values():
        assert [a["id"] for a in record["annotations"]] == list(range(1, len(record["annotations"]) + 1))


def test_negatives_are_absent_and_not_exhaustive_categories_are_present(splits):
    for record in splits.values():
        present = defaultdict(set)
        for a in record["annotations"]:
            present[a["image_id"]].add(a["category_id"])
        assert all(present[i["id"]].isdisjoint(i["neg_category_ids"]) for i in record["images"])
        assert all(present[i["id"]].issuperset(i["not_exhaustive_category_ids"]) for i in record["images"])
        assert 0 < sum(len(i["not_exhaustive_category_ids"]) for i in record["images"]) < 0.1 * len(record["images"])


# --- places ---------------------------------------------------------------------------------------------------


def centres(record, common):
    """Box centres in the unit square, by category."""
    side = record["images"][0]["width"]
    found = defaultdict(list)
    for a in record["annotations"]:
        x, y, width, height = a["bbox"]
        found[a["category_id"]].append(((x + width / 2) / side, (y + height / 2) / side))
    return {c: np.array(found[c]) for c in common}


def test_train_and_val_share_favourite_places_that_val_uniform_lacks(splits):
    often = [c["id"] for c in splits["train"]["categories"] if c["frequency"] != "r"]
    train, val, uniform = (centres(splits[split], often) for split in ("train", "val", "val_uniform"))
    scatter = {name: np.mean([p.var(0).sum() for p in by.values()]) for name, by in (("t", train), ("u", uniform))}
    assert scatter["t"] < 0.6 * scatter["u"]
    mean = {name: np.array([by[c].mean(0) for c in often]) for name, by in (("t", train), ("v", val), ("u", uniform))}
    agree = {name: np.corrcoef(mean["t"].ravel(), mean[name].ravel())[0, 1] for name in "vu"}
    assert agree["v"] > 0.9
    assert abs(agree["u"]) < 0.5


def test_val_uniform_shows_the_objects_of_val(splits):
    val, uniform = (
        [(a["image_id"], a["category_id"]) for a in splits[split]["annotations"]] for split in ("val", "val_uniform")
    )
    assert val == uniform


# --- other readers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
@pytest.mark.parametrize("split", ["val", "val_uniform"])
def test_the_official_api_gives_the_ground_truth_full_marks(monkeypatch, whole, splits, split, iou_type):
    monkeypatch.setattr(np, "float", float, raising=False)  # lvis 0.5.3 asks for a name that NumPy dropped
    from lvis import LVIS, LVISEval, LVISResults

    truth = LVIS(str(whole / f"{split}.json"))
    found = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": 1.0}
        | ({"bbox": a["bbox"]} if iou_type == "bbox" else {"segmentation": truth.ann_to_rle(a)})
        for a in splits[split]["annotations"]
    ]
    judge = LVISEval(truth, LVISResults(truth, found), iou_type)
    judge.run()
    scores = judge.get_results()
    assert {name: scores[name] for name in ("AP", "AP50", "AP75", "APr", "APc", "APf", "APs", "APm")} == pytest.approx(
        dict.fromkeys(("AP", "AP50", "AP75", "APr", "APc", "APf", "APs", "APm"), 1.0)
    )


def test_mmdet_loads_images_boxes_masks_and_labels(monkeypatch, small):
    monkeypatch.setattr(np, "float", float, raising=False)
    from mmdet.datasets import LVISV1Dataset
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    record = json.loads((small / "train.json").read_text())
    dataset = LVISV1Dataset(
        ann_file="train.json",
        data_root=str(small),
        data_prefix={"img": "images/"},
        metainfo={"classes": [c["name"] for c in record["categories"]]},
        pipeline=[{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_mask": True}],
    )
    assert len(dataset) == SMALL.train_images
    for item, image in zip((dataset[i] for i in range(len(dataset))), record["images"], strict=True):
        expected = [a for a in record["annotations"] if a["image_id"] == image["id"]]
        ids = [record["categories"][label]["id"] for label in item["gt_bboxes_labels"]]
        assert ids == [a["category_id"] for a in expected]
        assert item["img"].shape == (96, 96, 3)
        assert [mask.sum() for mask in item["gt_masks"].to_ndarray()] == [a["area"] for a in expected]


def test_the_attribution_names_author_and_licence(whole):
    text = (whole / "ATTRIBUTION.md").read_text()
    assert "OpenMoji" in text
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in text
