"""The embedded data: scenes of emoji, annotated as LVIS v1 is. ``docs/data.md`` describes it."""

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gumbel.datasets import annotations
from gumbel.datasets.mini import SPLITS, MiniData, longtail, npm, scenes
from gumbel.datasets.mini.artists import Artist, artists
from gumbel.datasets.mini.pictures import Thing, drawings, things
from gumbel.jobs.files import write_json
from gumbel.jobs.terminal import track
from gumbel.paths import DRAWINGS, DataPaths

#: Everything in a data folder, but for what Snakemake and mapped annotations leave there. A folder that holds anything
#: else is not replaced.
ENTRIES = {*(f"{split}.json" for split in SPLITS), "images", "ATTRIBUTION.md", "checksums.json"}
#: Chance that a scene with room left repeats one of its categories, and that the repetition is left unannotated.
REPEAT, UNANNOTATED = 0.4, 0.25
#: Fraction of the absent categories that are declared absent; the others are unknown, as LVIS leaves them.
NEGATIVES = 0.3
#: Of the scenes: that of OpenMoji and Emoji One (v1), which asks for itself; the other artists' admit it.
LICENCE = ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/")


@dataclass(frozen=True)
class _Split:
    """What a split shows: ``assigned`` holds the indices into ``shown`` of each image's categories.

    ``content`` names the random streams of everything but the places: val and val_uniform share them.
    """

    name: str
    content: str
    shown: Sequence[Thing]
    assigned: list[list[int]]
    favourites: Sequence[scenes.Favourite] | None


def attribution(by: Iterable[Artist]) -> str:
    """Return who made the drawings and under which licence, as Markdown."""
    return "\n".join(
        [
            "The scenes are made of drawings by:",
            "",
            *(f"- {artist.credit}." for artist in by),
            "",
            "Changes: rasterised, resized, rotated, mirrored, recoloured and composited onto generated backgrounds. "
            f"The scenes are under {LICENCE[0]} ({LICENCE[1]}). "
            "Category names, synsets and ids are those of LVIS v1 (https://www.lvisdataset.org).",
        ]
    )


def generate(spec: MiniData, root: Path) -> None:
    """Generate the embedded data into ``root``, replacing what an earlier generation left there.

    The folder appears under its name only when it is whole. The same ``spec`` gives the same pixels and the
    same JSON bytes; ``checksums.json`` records their SHA-256.

    Raises ValueError if the specification asks for more categories than there are pictures or room for,
    FileExistsError if ``root`` holds files that are not generated data, and OSError if the drawings cannot be had.
    """
    plan = _plan(spec)
    by = artists(npm.install(Path(__file__).parent, DRAWINGS) if spec.drawings > 1 else None)
    with _whole_folder(root) as folder:
        sums: dict[str, dict[str, str]] = {"files": {}, "pixels": {}}
        train: list[dict[str, Any]] = []
        for split in plan:
            images, found, sums["pixels"][split.name] = _draw(spec, split, by, folder)
            if split.name == "train":
                train = found
            counted = found if split.name == "warm_start" else train
            record = {
                "info": {
                    "description": f"Embedded data, split {split.name}: scenes of emoji in the LVIS v1 format",
                    "url": "",
                    "version": "2",
                    "contributor": "the artists that ATTRIBUTION.md names",
                },
                "licenses": [{"id": 1, "name": LICENCE[0], "url": LICENCE[1]}],
                "images": images,
                "annotations": found,
                "categories": annotations.categories(split.shown, counted),
            }
            path = DataPaths(folder).annotations(split.name)
            path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
            sums["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        DataPaths(folder).attribution.write_text(attribution(by) + "\n")
        write_json(DataPaths(folder).checksums, {"schema": 1, "spec": spec.model_dump(exclude_none=True), **sums})


def _plan(spec: MiniData) -> list[_Split]:
    """Decide which categories each split shows, how often, in which images and where."""
    pictured = things()
    rng = _rng(spec, "categories")
    choose = longtail.choose if spec.imbalance is None else longtail.choose_any
    shown = choose(pictured, spec.categories, rng)
    others = [thing for thing in pictured if thing not in shown]
    if spec.warm_start_categories > len(others):
        raise ValueError(
            f"expected at most {len(others)} warm-start categories, the pictures that {spec.categories} categories "
            f"leave; found {spec.warm_start_categories}; lower mini.warm_start_categories"
        )
    warm = [others[i] for i in rng.choice(len(others), spec.warm_start_categories, replace=False)]
    favourites = [scenes.draw_favourite(rng) for _ in shown]
    if spec.imbalance is None:
        train = longtail.train_counts(shown, spec.train_images)
        val = longtail.val_counts(train, spec.val_images)
    else:  # nothing of val depends on the imbalance, so that AP can be compared
        train = longtail.imbalanced_counts(len(shown), spec.train_images, spec.imbalance)
        val = longtail.balanced_counts(len(shown), spec.val_images)
    counts = {
        "train": (train, spec.train_images),
        "val": (val, spec.val_images),
        "warm_start": (longtail.balanced_counts(len(warm), spec.warm_start_images), spec.warm_start_images),
    }
    assigned = {name: longtail.assign(*asked, _rng(spec, name)) for name, asked in counts.items()}
    return [
        _Split("train", "train", shown, assigned["train"], favourites),
        _Split("val", "val", shown, assigned["val"], favourites),
        _Split("val_uniform", "val", shown, assigned["val"], None),
        _Split("warm_start", "warm_start", warm, assigned["warm_start"], None),
    ]


def _draw(
    spec: MiniData, split: _Split, by: Sequence[Artist], folder: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """Draw the images of a split; return its ``images`` and ``annotations`` entries and the hash of its pixels."""
    pictures = [drawings(thing, by, spec.drawings) for thing in split.shown]
    target = DataPaths(folder).images / split.name
    target.mkdir(parents=True)
    pixels = hashlib.sha256()
    images: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image_id, present in enumerate(track(split.assigned, f"drawing {split.name}"), 1):
        rng = _rng(spec, split.content, image_id)
        shown, annotated = _repeat(present, rng)
        by_whom = _rng(spec, f"{split.content}/drawings", image_id)
        drawn = [pictures[i][by_whom.integers(len(pictures[i]))] for i in shown]
        scene, masks = _scene(spec, split, image_id, drawn, shown, rng)
        for category, mask, kept in zip(shown, masks, annotated, strict=True):
            if kept:
                ids = {"id": len(found) + 1, "image_id": image_id, "category_id": split.shown[category].id}
                found.append(ids | annotations.annotation(mask))
        absent = [thing.id for index, thing in enumerate(split.shown) if index not in present]
        negatives = rng.choice(absent, round(NEGATIVES * len(absent)), replace=False).tolist() if absent else []
        partial = {split.shown[i].id for i, kept in zip(shown, annotated, strict=True) if not kept}
        images.append(annotations.image(image_id, split.name, spec.image_size, negatives, partial))
        cv2.imwrite(str(target / f"{image_id:012d}.png"), scene)
        pixels.update(scene.tobytes())
    return images, found, pixels.hexdigest()


def _repeat(present: list[int], rng: np.random.Generator) -> tuple[list[int], list[bool]]:
    """Return the categories of a scene's objects in drawing order, and which of them are annotated."""
    objects = [(category, True) for category in present]
    if 0 < len(objects) < longtail.OBJECTS[1] and rng.random() < REPEAT:
        objects.append((int(rng.choice(present)), bool(rng.random() >= UNANNOTATED)))
    order = rng.permutation(len(objects))
    return [objects[i][0] for i in order], [objects[i][1] for i in order]


def _scene(
    spec: MiniData,
    split: _Split,
    image_id: int,
    pictures: list[np.ndarray],
    shown: list[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw one scene: its content from ``rng``, its places from a stream of the split's own."""
    where = _rng(spec, f"{split.name}/places", image_id)

    def place(category: int) -> scenes.Place:
        if split.favourites is None:
            return lambda widen: where.uniform(0, 1, 2)
        favourite = split.favourites[category]
        return lambda widen: favourite.draw(where, widen)

    background = scenes.draw_background(rng, spec.image_size)
    looks = [scenes.draw_look(rng) for _ in pictures]
    return scenes.compose(background, pictures, looks, [place(category) for category in shown])


def _rng(spec: MiniData, stream: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng([spec.seed, zlib.crc32(stream.encode()), number])


@contextmanager
def _whole_folder(root: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``root`` that takes its name when the block succeeds."""
    root = root.resolve()
    foreign = {entry.name for entry in root.iterdir()} - ENTRIES if root.is_dir() else set()
    ours = (".snakemake", *(f".{split}.json." for split in SPLITS))
    foreign = {name for name in foreign if not name.startswith(ours)}
    if foreign:
        raise FileExistsError(
            f"expected {root} to be absent or to hold generated data alone; found {', '.join(sorted(foreign))}; "
            "move them away or choose another data_root"
        )
    partial, replaced = (root.with_name(f".{root.name}.{state}") for state in ("partial", "replaced"))
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if root.exists():
            root.rename(replaced)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
