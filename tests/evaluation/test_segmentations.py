"""Masks of polygons and RLEs, against the pixels that COCO's API fills."""

import json

import msgspec
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gumbel.evaluation.segmentations import Segmentation, read_segmentations


def rle(rng, height, width):
    pixels = rng.random((height, width)) < rng.random()
    mask = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return mask | {"counts": mask["counts"].decode()}


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


def read(segmentations, **layout):
    return read_segmentations(msgspec.json.decode(json.dumps(segmentations, **layout), type=list[Segmentation]))


def fill(segmentations, sizes):
    return read(segmentations).fill(
        np.arange(len(segmentations), dtype=np.int32), np.array(sizes, np.int32).reshape(-1, 2)
    )


def check(segmentations, sizes):
    found = fill(segmentations, sizes)
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
        found = fill([[[0, 0, number, 0, number, number]]], [(9, 9)])
        assert 0 < found.area[0] <= 81
    with pytest.raises(ValueError, match="finite numbers"):
        read_segmentations([[msgspec.Raw(b"[0, 0, 9, 0, 9, 1e400]")]])


def test_nothing_has_no_masks():
    found = fill([], [])
    assert found.ends.tolist() == [0]


@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 3}])
def test_numbers_are_read_as_python_reads_them(layout):
    rng = np.random.default_rng(0)
    numbers = [*rng.normal(0, 1e3, 1000), *rng.normal(0, 1e3, 1000).round(2), *10.0 ** rng.uniform(-30, 9, 1000)]
    numbers += [*rng.integers(-999, 999, 1000).tolist(), 0.1, -0.0, 1e5, 3e-7, 299.7, 0.3, 2**31 / 5, -(2**31) / 5]
    polygons = [rng.choice(numbers, rng.integers(6, 12)).tolist() for _ in range(9000)]
    found = read([polygons[n : n + 2] for n in range(0, 9000, 2)], **layout)
    assert found.numbers.tolist() == np.cumsum([0, *map(len, polygons)]).tolist()
    expected = [min(max(int(5 * number + 0.5), -(2**31)), 2**31 - 1) for polygon in polygons for number in polygon]
    assert found.points.tolist() == expected


def test_objects_are_filled_in_any_order():
    rng = np.random.default_rng(1)
    objects = [segmentation(rng, 30, 40) for _ in range(60)]
    whole = read(objects).fill(np.arange(60, dtype=np.int32), np.array([(30, 40)] * 60, np.int32))
    for places in ([], [7], [59, 0, 3, 3], rng.permutation(60)):
        some = read(objects).fill(
            np.array(places, np.int32), np.array([(30, 40)] * len(places), np.int32).reshape(-1, 2)
        )
        for k, place in enumerate(places):
            one, other = slice(*some.ends[k : k + 2]), slice(*whole.ends[place : place + 2])
            assert np.array_equal(some.start[one], whole.start[other])
            assert np.array_equal(some.stop[one], whole.stop[other])


RIGHT = [1, 2, 3, 4, 5, 6]
OTHER = ["[1,2,3,4,5,6]", "1,2,3,4,5,6", {"a": RIGHT}, None, True, []]


@pytest.mark.parametrize("wrong", [7, 1234567, *OTHER, *([*RIGHT, one, 7] for one in [*OTHER, RIGHT])])
def test_polygons_of_other_things_are_refused(wrong):
    for one in ([wrong], [RIGHT, wrong], [wrong, RIGHT]):
        with pytest.raises(ValueError, match="expected polygons"):
            read([[RIGHT], one])
