"""Scenes: cut-outs of named things composited onto textured backgrounds, with the visible mask of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

#: Longest side of an object, as a fraction of the scene's side.
SIZES = (0.27, 0.6)
#: An object shows at least this fraction of itself; what would hide more is placed elsewhere.
MIN_VISIBLE = 0.8
TRIES = 24

#: Draws a position in [0, 1]²: where the object lies between the left (top) edge, 0, and the right (bottom), 1.
#: The argument widens the search after failures: 1 at first, growing.
Place = Callable[[float], np.ndarray]


@dataclass(frozen=True)
class Look:
    """How a thing appears: ``size`` is its longest side over the scene's, ``angle`` in degrees."""

    size: float
    angle: float
    flip: bool
    hue: int
    light: float


@dataclass(frozen=True)
class Favourite:
    """Where a category likes to be: a Gaussian folded into [0, 1]²."""

    centre: np.ndarray
    spread: float

    def draw(self, rng: np.random.Generator, widen: float) -> np.ndarray:
        place = rng.normal(self.centre, self.spread * widen)
        return 1 - np.abs(1 - np.abs(place) % 2)


def draw_look(rng: np.random.Generator) -> Look:
    """Draw an appearance: log-uniform size, small rotation, mild hue and light."""
    low, high = np.log(SIZES)
    return Look(
        size=float(np.exp(rng.uniform(low, high))),
        angle=float(rng.uniform(-25, 25)),
        flip=bool(rng.random() < 0.5),
        hue=int(rng.integers(-8, 9)),
        light=float(rng.uniform(0.8, 1.15)),
    )


def draw_favourite(rng: np.random.Generator) -> Favourite:
    """Draw a category's favourite place; some are picky, some are not."""
    return Favourite(centre=rng.uniform(0, 1, 2), spread=float(rng.uniform(0.08, 0.25)))


def draw_background(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw a (side, side, 3) float32 BGR texture in [0, 255]: clouds at three scales over a muted colour."""
    canvas = np.empty((side, side, 3), np.float32)
    canvas[:] = rng.uniform(110, 190) + rng.uniform(-22, 22, 3)
    for cells, light, tint in ((3, 16, 8), (8, 9, 4), (side // 2, 5, 2)):
        noise = rng.normal(0, light, (cells, cells, 1)) + rng.normal(0, tint, (cells, cells, 3))
        canvas += cv2.resize(noise.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return canvas.clip(0, 255)


def dress(picture: np.ndarray, look: Look, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture as it looks in a scene: (h, w, 3) float32 BGR times alpha, and (h, w) float32 alpha in [0, 1].

    Both are cropped to the object. ``picture`` is (H, W, 4) BGRA bytes with straight alpha.
    """
    hsv = cv2.cvtColor(picture[..., :3], cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + look.hue) % 180  # OpenCV counts hue in steps of two degrees
    colour = (cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * np.float32(look.light)).clip(0, 255)
    alpha = picture[..., 3:].astype(np.float32) / 255
    layers = np.dstack([colour * alpha, alpha])
    if look.flip:
        layers = layers[:, ::-1]
    layers = _rotate(_resize(layers, look.size * side), look.angle)
    x, y, width, height = cv2.boundingRect((layers[..., 3] > 0.5).astype(np.uint8))
    layers = layers[y : y + height, x : x + width]
    return layers[..., :3], layers[..., 3]


def _resize(layers: np.ndarray, longest: float) -> np.ndarray:
    scale = longest / max(layers.shape[:2])
    width, height = (max(2, round(length * scale)) for length in (layers.shape[1], layers.shape[0]))
    return cv2.resize(layers, (width, height), interpolation=cv2.INTER_AREA)


def _rotate(layers: np.ndarray, angle: float) -> np.ndarray:
    height, width = layers.shape[:2]
    around = int(np.ceil(np.hypot(height, width))) + 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] += ((around - width) / 2, (around - height) / 2)
    return cv2.warpAffine(layers, matrix, (around, around), flags=cv2.INTER_LINEAR)


def compose(
    background: np.ndarray, pictures: Sequence[np.ndarray], looks: Sequence[Look], places: Sequence[Place]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Place the pictures from back to front and return the scene and what is visible of each.

    The scene is (S, S, 3) BGR bytes, a visible mask (S, S) bool. Objects lie wholly inside. When they do not
    fit without hiding too much of each other, all are drawn smaller.
    """
    side = background.shape[0]
    shrink = 1.0
    while True:
        smaller = [Look(look.size * shrink, look.angle, look.flip, look.hue, look.light) for look in looks]
        layers = [dress(picture, look, side) for picture, look in zip(pictures, smaller, strict=True)]
        found = _arrange(side, [alpha > 0.5 for _, alpha in layers], places)
        if found is not None:
            corners, masks = found
            return _paint(background, layers, corners), masks
        shrink *= 0.88


def _arrange(
    side: int, solids: list[np.ndarray], places: Sequence[Place]
) -> tuple[list[tuple[int, int]], list[np.ndarray]] | None:
    """Find a corner (y, x) for every object; None if one does not fit."""
    corners: list[tuple[int, int]] = []
    masks: list[np.ndarray] = []
    for solid, place in zip(solids, places, strict=True):
        for attempt in range(TRIES):
            corner = _corner(place(1 + attempt / 8), solid.shape, side)
            mask = np.zeros((side, side), bool)
            mask[corner[0] : corner[0] + solid.shape[0], corner[1] : corner[1] + solid.shape[1]] = solid
            left = [other & ~mask for other in masks]
            if all(m.sum() >= MIN_VISIBLE * s.sum() for m, s in zip(left, solids[: len(left)], strict=True)):
                corners.append(corner)
                masks = [*left, mask]
                break
        else:
            return None
    return corners, masks


def _corner(place: np.ndarray, shape: tuple[int, ...], side: int) -> tuple[int, int]:
    x, y = place
    return round(float(y) * max(0, side - shape[0])), round(float(x) * max(0, side - shape[1]))


def _paint(
    background: np.ndarray, layers: Sequence[tuple[np.ndarray, np.ndarray]], corners: Sequence[tuple[int, int]]
) -> np.ndarray:
    scene = background.copy()
    for (colour, alpha), (y, x) in zip(layers, corners, strict=True):
        window = scene[y : y + alpha.shape[0], x : x + alpha.shape[1]]
        window *= 1 - alpha[..., None]
        window += colour
    return scene.round().clip(0, 255).astype(np.uint8)
