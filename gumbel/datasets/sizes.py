"""Whether pictures are of the size that their annotations say, read as a training reads them."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

#: Pictures that are looked at unless all are asked for.
SAMPLE = 256
#: How a picture can get another size than it was annotated at.
CAUSES = "as where it was resized, or where its EXIF orientation turns it and its annotations are of the unturned one"


def check_sizes(expected: Mapping[Path, tuple[int, int]], every: bool = False) -> int:
    """Read pictures whose width and height are ``expected``: an even sample of them, or every one; return how many.

    Raises:
        ValueError: a picture has another size, or cannot be read; the first one is named.
    """
    paths = list(expected)
    chosen = paths if every else paths[:: -(-len(paths) // SAMPLE) or 1]
    cv2.setNumThreads(0)
    with ThreadPoolExecutor() as pool:
        for path, found in zip(chosen, pool.map(_size, chosen), strict=True):
            if found is None:
                raise ValueError(f"expected a picture in {path}, found a file that is damaged or of another kind")
            if found != expected[path]:
                width, height = expected[path]
                raise ValueError(
                    f"expected {path} to be {width} x {height} pixels, as annotated, found {found[0]} x {found[1]}, "
                    f"{CAUSES}; correct the picture, or the width, height, boxes and masks of its annotations"
                )
    return len(chosen)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height as mmdet loads the picture: turned as its EXIF orientation says."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if picture is None else (picture.shape[1], picture.shape[0])
