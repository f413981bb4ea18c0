"""Pictures of any kind are read as 8-bit colour at the size that is annotated, and of another size by nobody."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from gumbel.datasets.sizes import SAMPLE, check_sizes
from gumbel.detection.loading import LoadAnnotatedImage
from gumbel.experiment import matrix
from tests.detection.conftest import TINY

HEIGHT, WIDTH = 6, 10
#: Left half dark, right half bright.
PIXELS = np.repeat([[40] * (WIDTH // 2) + [200] * (WIDTH // 2)], HEIGHT, axis=0).astype(np.uint8)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def save(path: Path, kind: str) -> Path:
    grey = Image.fromarray(PIXELS)
    match kind:
        case "grey.png" | "grey.jpg":
            grey.save(path)
        case "colour.png":
            grey.convert("RGB").save(path)
        case "alpha.png":
            grey.convert("RGBA").save(path)
        case "palette.png" | "palette.gif":
            grey.convert("P").save(path)
        case "deep.png":
            cv2.imwrite(str(path), PIXELS.astype(np.uint16) * 257)
        case "cmyk.jpg":
            grey.convert("CMYK").save(path, quality=100)
        case "upside down.jpg":
            grey.rotate(180).save(path, exif=turned(3), quality=100)
        case "lying.jpg":
            grey.rotate(90, expand=True).save(path, exif=turned(6), quality=100)
    return path


KINDS = [
    "grey.png", "grey.jpg", "colour.png", "alpha.png", "palette.png", "deep.png", "cmyk.jpg", "upside down.jpg",
    "lying.jpg",
]  # fmt: skip


def load(path: Path, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return LoadAnnotatedImage().transform({"img_path": str(path), "height": height, "width": width})["img"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_any_kind_is_read_in_8_bit_colour_and_upright(tmp_path, kind):
    path = save(tmp_path / kind, kind)
    assert check_sizes({path: (WIDTH, HEIGHT)}) == 1
    found = load(path)
    assert (found.shape, found.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    np.testing.assert_allclose(found, np.repeat(PIXELS[..., None], 3, axis=2), atol=6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_another_size_than_annotated_is_named_when_verified_and_when_loaded(tmp_path, kind):
    """Turned by its EXIF orientation, it is no more of the size that it is stored in."""
    path = save(tmp_path / kind, kind)
    with pytest.raises(
        ValueError, match=rf"{kind} to be {HEIGHT} x {WIDTH} pixels.*found {WIDTH} x {HEIGHT}, as where"
    ):
        check_sizes({path: (HEIGHT, WIDTH)})
    with pytest.raises(ValueError, match=rf"{kind} to have height and width.*EXIF.*--every-picture"):
        load(path, width=HEIGHT, height=WIDTH)


def test_a_damaged_picture_is_named(tmp_path):
    path = save(tmp_path / "colour.png", "colour.png")
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ValueError, match=r"a picture in .*colour\.png, found a file that is damaged"):
        check_sizes({path: (WIDTH, HEIGHT)})


@pytest.mark.parametrize("number", [0, 1, SAMPLE, SAMPLE + 1, 5 * SAMPLE])
def test_a_sample_is_spread_over_all_pictures_and_all_are_read_on_request(tmp_path, number):
    path = save(tmp_path / "grey.png", "grey.png")
    # One file under many names
    sizes = {tmp_path / f"{place}.png": (WIDTH, HEIGHT) for place in range(number)}
    for name in sizes:
        name.hardlink_to(path)
    assert check_sizes(sizes, every=True) == number
    assert min(number, SAMPLE // 2) <= check_sizes(sizes) <= SAMPLE
    if number > SAMPLE:
        last = list(sizes)[1]  # not in the sample
        with pytest.raises(ValueError, match="found 10 x 6"):
            check_sizes(sizes | {last: (1, 1)}, every=True)


def test_own_data_with_a_picture_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "grey.png", "grey.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4]]}
    image = {"id": 1, "file_name": "grey.png", "width": HEIGHT, "height": WIDTH}
    record = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "own.json").write_text(json.dumps(record))
    splits = {name: {"annotations": "own.json", "images": "."} for name in ("train", "val")}
    own = TINY | {"dataset": "coco", "data_root": str(tmp_path), "data": {"splits": splits}, "warm_start": None}
    with pytest.raises(ValueError, match=r"grey\.png to be 6 x 10 pixels"):
        matrix.data(matrix.parse(own)).provide()
