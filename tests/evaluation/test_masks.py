"""Masks of polygons and RLEs, against the pixels that COCO's API fills."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gumbel.evaluation.masks import from_segmentations


def rle(rng, height, width):
    pixels = rng.random((height, width)) < rng.random()
    return coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))


def outline(rng, height, width):
    """A polygon, crossing itself or not, partly outside the image, on the pixels' edges, or with corners twice."""
    corners = rng.uniform(-0.5, 1.5, (rng.integers(3, 12), 2)) * [width, height]
    grid = rng.choice([0, 1, 2, 5])
    if grid:
        corners = (corners * grid).round() / grid
    if rng.random() < 0.3:
        corners = corners.clip(0, [width, height])
    if rng.random() < 0.3:
        corners[1] = corners[0]
    return corners.ravel().tolist()


def segmentation(rng, height, width):
    if rng.random() < 0.2:
        return rle(rng, height, width)
    return [outline(rng, height, width) for _ in range(rng.integers(1, 4))]


def filled(segmentation, height, width):
    """Pixels by COCO's API, (height, width)."""
    if isinstance(segmentation, dict):
        return coco_mask.decode(segmentation).astype(bool)
    return coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width)).any(axis=2)


def check(segmentations, sizes):
    found = from_segmentations(segmentations, np.array(sizes, np.int32))
    for k, (height, width) in enumerate(sizes):
        expected = filled(segmentations[k], height, width)
        intervals = slice(found.ends[k], found.ends[k + 1])
        pixels = np.zeros(height * width, int)
        for start, stop in zip(found.start[intervals], found.stop[intervals], strict=True):
            pixels[start:stop] += 1
        assert np.array_equal(pixels.reshape(width, height).T, expected)
        assert found.area[k] == expected.sum()
        gaps = found.start[intervals][1:] - found.stop[intervals][:-1]
        assert (gaps > 0).all()
        if expected.any():
            rows, columns = np.nonzero(expected)
            assert found.box[k].tolist() == [columns.min(), columns.max(), rows.min(), rows.max()]


@pytest.mark.parametrize("seed", range(8))
def test_polygons_and_rles_are_the_pixels_that_coco_fills(seed):
    rng = np.random.default_rng(seed)
    sizes = [tuple(rng.integers(1, 60, 2).tolist()) for _ in range(100)]
    check([segmentation(rng, *size) for size in sizes], sizes)


@pytest.mark.parametrize(
    "polygon",
    [
        [0, 0, 9, 0, 9, 9, 0, 9],  # the whole image
        [-5, -5, 50, -5, 50, 50, -5, 50],  # and beyond
        [3, 3, 3, 3, 3, 3],  # a point
        [1, 1, 8, 1, 4, 1],  # a line
        [20, 20, 30, 20, 25, 30],  # outside
        [1, 1, 8, 1, 8, 8, 1, 8, 5],  # half a corner too much
        [0, 4, 9, 4, 9, 9, 0, 9],  # down to the last pixel
        [-1e5, -1e5, 1e5, -1e5, 1e5, 4],
    ],
)
def test_polygons_at_the_border(polygon):
    check([[polygon], [polygon, [2, 2, 5, 2, 5, 5]]], [(9, 9), (9, 9)])


def test_no_number_is_too_large():
    for number in (1e12, 1e300):
        found = from_segmentations([[[0, 0, number, 0, number, number]]], np.array([[9, 9]], np.int32))
        assert 0 < found.area[0] <= 81
    with pytest.raises(ValueError, match="finite numbers"):
        from_segmentations([[[0, 0, 9, 0, 9, float("inf")]]], np.array([[9, 9]], np.int32))


def test_nothing_has_no_masks():
    found = from_segmentations([], np.zeros((0, 2), np.int32))
    assert found.ends.tolist() == [0]
