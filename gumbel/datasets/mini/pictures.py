"""Named things that have both an LVIS v1 category and an emoji, and the drawings of them."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import resvg_py

from gumbel.datasets.lvis_v1 import published
from gumbel.datasets.mini.artists import Artist

#: LVIS category name to an emoji's code points, and to the artists whose drawing of it is left out. Both are chosen by
#: hand: drawings show the category, whole, in one piece, not too thin and almost without holes, so that polygons can
#: follow them.
PICTURES = Path(__file__).with_name("pictures.csv")


@dataclass(frozen=True)
class Thing:
    """An LVIS v1 category, the code points of its emoji, and the artists whose drawing of it shows something else.

    ``frequency`` and ``images`` are LVIS's own.
    """

    id: int
    name: str
    synset: str
    frequency: str
    images: int
    hexcode: str
    dropped: frozenset[str]


def things() -> list[Thing]:
    """Return every LVIS v1 category that has an emoji, sorted by id."""
    with PICTURES.open(newline="") as file:
        pictured = {row["name"]: row for row in csv.DictReader(file)}
    return [
        Thing(
            int(row["id"]),
            row["name"],
            row["synset"],
            row["frequency"],
            int(row["image_count"]),
            pictured[row["name"]]["hexcode"],
            frozenset(pictured[row["name"]]["dropped"].split()),
        )
        for row in published().categories
        if row["name"] in pictured
    ]


def drawings(thing: Thing, artists: Iterable[Artist], most: int) -> list[np.ndarray]:
    """Return the first ``most`` drawings that a thing has, one an artist, each as :func:`cut_out` does."""
    by = (artist.drawing(thing.hexcode) for artist in artists if artist.name not in thing.dropped)
    return [cut_out(svg) for svg in islice(filter(None, by), most)]


def cut_out(svg: str, side: int = 128) -> np.ndarray:
    """Rasterise a drawing to (H, W, 4) BGRA bytes with straight alpha, cropped to what is visible.

    ``side`` is the longest side of the uncropped drawing in pixels.
    """
    # System fonts would let the machine decide what is drawn.
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError(f"expected a PNG from resvg, found {len(png)} bytes that OpenCV cannot read, of {svg[:200]}")
    x, y, width, height = cv2.boundingRect((picture[..., 3] > 127).astype(np.uint8))
    return picture[y : y + height, x : x + width]
