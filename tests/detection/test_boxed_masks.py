"""Masks kept in their boxes, against mmdet's bitmaps after every step of a pipeline."""

import pickle

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_mask

from gumbel.detection import boxed_masks as module
from gumbel.detection.boxed_masks import BoxedMasks, LoadBoxedAnnotations


def polygon(rng: np.random.Generator, height: int, width: int) -> list[float]:
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))[:, None]
    radius = rng.uniform(0.5, 150)
    points = rng.uniform(0, 1, 2) * [width, height] + radius * np.hstack([np.cos(angles), np.sin(angles)])
    return np.clip(points, 0, [width, height]).round(2).ravel().tolist()


def annotation(rng: np.random.Generator, height: int, width: int) -> list | dict:
    """A mask as files have it: polygons, run lengths, or compressed run lengths."""
    polygons = [polygon(rng, height, width) for _ in range(rng.integers(1, 4))]
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    runs = np.flatnonzero(np.diff(coco_mask.decode(rle).ravel(order="F"), prepend=0, append=2))
    counts = np.diff(runs, prepend=0).tolist()
    return [polygons, {"size": [height, width], "counts": counts}, rle][rng.integers(3)]


def loaded(rng: np.random.Generator, objects: int) -> tuple[BitmapMasks, BoxedMasks]:
    height, width = rng.integers(20, 500, 2).tolist()
    instances = [{"mask": annotation(rng, height, width), "ignore_flag": 0} for _ in range(objects)]
    both = []
    for transform in (LoadAnnotations, LoadBoxedAnnotations):
        results = {"ori_shape": (height, width), "height": height, "width": width, "instances": instances}
        transform(with_bbox=False, with_label=False, with_mask=True).transform(results)
        both.append(results["gt_masks"])
    return both[0], both[1]


def assert_same(bitmaps: BitmapMasks, boxed: BitmapMasks) -> None:
    assert (len(bitmaps), bitmaps.height, bitmaps.width) == (len(boxed), boxed.height, boxed.width)
    assert bitmaps.masks.dtype == boxed.masks.dtype
    np.testing.assert_array_equal(bitmaps.masks, boxed.masks)


@pytest.mark.parametrize("seed", range(60))
def test_every_step_of_a_pipeline_gives_mmdets_bitmaps_and_stays_inside_the_boxes(seed):
    rng = np.random.default_rng(seed)
    bitmaps, boxed = loaded(rng, objects=seed % 7)
    assert_same(bitmaps, boxed)
    scale = tuple(rng.integers(200, 1400, 2).tolist())
    bitmaps, boxed = bitmaps.rescale(scale), boxed.rescale(scale)
    assert_same(bitmaps, boxed)
    bitmaps, boxed = bitmaps.flip(), boxed.flip()
    assert_same(bitmaps, boxed)
    kept = np.flatnonzero(rng.random(len(boxed)) < 0.7)
    bitmaps, boxed = bitmaps[kept], pickle.loads(pickle.dumps(boxed[kept]))
    shape = (boxed.height + 13, boxed.width + 5)
    bitmaps, boxed = bitmaps.pad(shape), boxed.pad(shape)
    assert isinstance(boxed, BoxedMasks)
    assert_same(bitmaps, boxed)
    if len(boxed):
        corners = rng.uniform(-20, 1, (9, 2)) * [20, 1] + rng.uniform(0, 1, (9, 2)) * [boxed.width, boxed.height]
        boxes = np.hstack([corners, corners + rng.uniform(0, 400, (9, 2))]).astype(np.float32)
        given = boxes, (28, 28), rng.integers(len(boxed), size=9)
        for binarize in (True, False):
            targets = [masks.crop_and_resize(*given, binarize=binarize) for masks in (bitmaps, boxed)]
            assert_same(*targets)


def test_targets_of_few_objects_take_the_memory_of_few(monkeypatch):
    """An image of LVIS has up to hundreds of objects; only those with positive RoIs become bitmaps."""
    _, boxed = loaded(np.random.default_rng(1), objects=9)
    seen, own = [], module.roi_align
    monkeypatch.setattr(module, "roi_align", lambda bitmaps, *rest: [seen.append(len(bitmaps)), own(bitmaps, *rest)][1])
    boxed.crop_and_resize(np.array([[0, 0, 9, 9]] * 4, np.float32), (28, 28), np.array([7, 2, 7, 7]))
    assert seen == [2]


@pytest.mark.parametrize(
    "step",
    [
        lambda masks: masks.resize((77, 131)),
        lambda masks: masks.resize((77, 131), interpolation="bilinear"),
        lambda masks: masks.rescale(0.5, interpolation="bilinear"),
        lambda masks: masks.flip("vertical"),
        lambda masks: masks.flip("diagonal"),
        lambda masks: masks.pad((600, 600), pad_val=1),
        lambda masks: masks.crop(np.array([5, 3, 15, 12])),
        lambda masks: masks.expand(700, 600, 7, 9),
        lambda masks: masks[2],
        lambda masks: masks[np.array([True, False, True, False])],
        lambda masks: masks[1:3],
        lambda masks: masks.crop_and_resize(
            torch.tensor([[2.0, 3, 17, 15], [0, 0, 9.5, 18]]), (28, 28), torch.tensor([3, 1])
        ),
    ],
)
def test_every_other_operation_is_mmdets(step):
    bitmaps, boxed = loaded(np.random.default_rng(1), objects=4)
    assert_same(step(bitmaps), step(boxed))
