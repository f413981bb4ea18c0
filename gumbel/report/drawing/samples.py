"""Pictures of the validation split with the objects that each activation finds, beside the ground truth."""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from gumbel.datasets.annotations import URL_PREFIX
from gumbel.evaluation.matches import taken
from gumbel.evaluation.predictions import read_predictions
from gumbel.evaluation.segmentations import object_mask
from gumbel.words import activation_name

Rle = Mapping[str, Any]

#: RGB, after Okabe and Ito, without the greys and yellows that drown in a photograph.
_COLOURS = ((230, 90, 0), (0, 140, 210), (0, 158, 115), (204, 100, 170), (240, 180, 0), (110, 70, 200), (200, 30, 60))
_ABSENT = (20, 20, 20)  # categories that the ground truth of the image does not have
_SIDE = 320  # longer side of a drawn picture, in pixels
_SEARCHED = 500  # images that are searched for the worst failures, rarest categories first


@dataclass(frozen=True)
class Item:
    """An object on a picture: its number, where the number stands (percent), and what it is called."""

    number: int
    left: float
    top: float
    colour: str
    name: str
    frequency: str
    score: float | None
    right: bool


@dataclass(frozen=True)
class Panel:
    """A picture as a data URI, with the objects drawn on it."""

    title: str
    key: str
    uri: str
    width: int
    height: int
    items: list[Item]


@dataclass(frozen=True)
class Sample:
    """One image: ground truth first, then each activation."""

    image_id: int
    panels: list[Panel]
    failure: bool


class _Object(NamedTuple):
    category: int
    mask: Rle
    score: float | None = None


#: By the id of their image.
Objects = Mapping[int, list[_Object]]


def draw_samples(
    annotations: Path, images: Path, predictions: Mapping[str, Path], chosen: Sequence[int], failures: int = 2
) -> list[Sample]:
    """Draw the ``chosen`` images of a split, by id, then ``failures`` of the worst others.

    The worst are those of which the activations together find the smallest share of objects, among the images
    with the rarest categories; of equals, those with more objects. ``predictions`` maps an activation to its
    detections. So that no score threshold favours an activation, each shows as many detections as the image has
    objects, its highest scored.
    """
    record = json.loads(annotations.read_bytes())
    categories = {category["id"]: category for category in record["categories"]}
    objects: dict[int, list[dict[str, Any]]] = {}
    for annotation in record["annotations"]:
        objects.setdefault(annotation["image_id"], []).append(annotation)
    by_id = {image["id"]: image for image in record["images"]}
    searched = [image_id for image_id in rarest_first(objects, categories)[:_SEARCHED] if image_id not in chosen]
    truth = {image_id: _truth(by_id[image_id], objects[image_id]) for image_id in [*chosen, *searched]}
    detected = {activation: _detected(path, truth) for activation, path in predictions.items()}
    worst = _worst(searched, truth, detected)[:failures]
    samples = []
    for image_id in [*chosen, *worst]:
        path = images / by_id[image_id]["coco_url"].removeprefix(URL_PREFIX)
        shown = {"truth": truth[image_id]} | {name: found[image_id] for name, found in detected.items()}
        samples.append(Sample(image_id, _panels(path, shown, categories), image_id in worst))
    return samples


def _truth(image: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> list[_Object]:
    size = image["height"], image["width"]
    return [_Object(each["category_id"], object_mask(each["segmentation"], *size)) for each in annotations]


def _detected(path: Path, truth: Objects) -> dict[int, list[_Object]]:
    """Of the images of ``truth``, as many detections as it has objects, by falling score."""
    found = read_predictions(path)
    rows = np.flatnonzero(np.isin(found.image_id, list(truth)))
    rows = rows[np.lexsort((-found.score[rows], found.image_id[rows]))]
    best = {}
    for image_id, objects in truth.items():
        chosen = rows[slice(*np.searchsorted(found.image_id[rows], [image_id, image_id + 1]))][: len(objects)]
        best[image_id] = [
            _Object(int(found.category_id[row]), mask, float(found.score[row]))
            for row, mask in zip(chosen, found.shapes.take(chosen).masks(), strict=True)
        ]
    return best


def _worst(images: Sequence[int], truth: Objects, detected: Mapping[str, Objects]) -> list[int]:
    """``images``, those with the smallest share of objects found first."""

    def key(image_id: int) -> tuple[float, int, int]:
        objects = truth[image_id]
        hits = sum(sum(_matched(found[image_id], objects)) for found in detected.values())
        return hits / len(objects), -len(objects), image_id

    return sorted(images, key=key) if detected else []


def rarest_first(objects: Mapping[int, Sequence[Mapping[str, Any]]], categories: Mapping[int, Any]) -> list[int]:
    """Image ids by the training count of their rarest category; images that repeat a category come later."""

    def rarity(image_id: int) -> tuple[int, int]:
        return min((categories[a["category_id"]]["image_count"], a["category_id"]) for a in objects[image_id])

    seen: Counter[tuple[int, int]] = Counter()
    rounds = []
    for category, image_id in sorted((rarity(image_id), image_id) for image_id in objects):
        seen[category] += 1
        rounds.append((seen[category], category, image_id))
    return [image_id for *_, image_id in sorted(rounds)]


def _panels(path: Path, shown: Mapping[str, Sequence[_Object]], categories: Mapping[int, Any]) -> list[Panel]:
    """The picture at ``path`` with the objects of ``truth``, then with those of each activation."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"expected a picture at {path}, found none: get the data again")
    present = dict.fromkeys(thing.category for thing in shown["truth"])
    palette = {category: _COLOURS[place % len(_COLOURS)] for place, category in enumerate(present)}
    panels = []
    for key, objects in shown.items():
        canvas = _resize(picture)
        items = []
        for number, (thing, right) in enumerate(zip(objects, _matched(objects, shown["truth"]), strict=True), start=1):
            colour = palette.get(thing.category, _ABSENT)
            left, top = _draw(canvas, coco_mask.decode(thing.mask), colour)
            css = "#{:02x}{:02x}{:02x}".format(*colour)
            category = categories[thing.category]
            items.append(Item(number, left, top, css, category["name"], category["frequency"], thing.score, right))
        title = "Ground truth" if key == "truth" else activation_name(key)
        panels.append(Panel(title, key, _data_uri(canvas), canvas.shape[1], canvas.shape[0], items))
    return panels


def _matched(objects: Sequence[_Object], truth: Sequence[_Object]) -> list[bool]:
    """Whether each object, in order, takes a ground truth of its category that no one took before."""
    if not objects or not truth:
        return [False] * len(objects)
    overlap = coco_mask.iou([thing.mask for thing in objects], [thing.mask for thing in truth], [0] * len(truth))
    same = np.array([[thing.category == known.category for known in truth] for thing in objects])
    return (taken(np.where(same, overlap, 0.0)) >= 0).tolist()


def _resize(picture: np.ndarray) -> np.ndarray:
    scale = _SIDE / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _draw(canvas: np.ndarray, mask: np.ndarray, rgb: tuple[int, int, int]) -> tuple[float, float]:
    """Tint and outline ``mask`` (height, width) on ``canvas`` (BGR), in place; its middle in percent."""
    height, width = canvas.shape[:2]
    # smooth outlines: threshold the enlarged mask rather than enlarge its pixels
    mask = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    if not mask.any():
        return 50.0, 50.0
    bgr = np.array(rgb[::-1], dtype=np.float32)
    canvas[mask] = (0.6 * canvas[mask] + 0.4 * bgr).astype(np.uint8)
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, outline, -1, rgb[::-1], 2, cv2.LINE_AA)
    rows, columns = np.nonzero(mask)
    return round(100 * float(columns.mean()) / width, 1), round(100 * float(rows.mean()) / height, 1)


def _data_uri(canvas: np.ndarray) -> str:
    _, data = cv2.imencode(".webp", canvas, [cv2.IMWRITE_WEBP_QUALITY, 80])
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
