"""Annotations in COCO's form (https://cocodataset.org/#format-data), checked and written in the LVIS v1 form.

What LVIS has besides is added: frequency groups from the counts of the training split, and for each image the
categories that are known to be absent, which is all that are not annotated in it: COCO's annotations are exhaustive.
Files that bring these themselves keep them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import msgspec
from pycocotools import mask as coco_mask

from gumbel.datasets.annotations import URL_PREFIX, count, frequency
from gumbel.datasets.coco import Coco
from gumbel.datasets.entries import Record, read_annotations
from gumbel.datasets.sizes import check_sizes
from gumbel.jobs.files import atomic_path, link, write_json
from gumbel.jobs.manifest import sha256

#: The lists that annotations have, and what each of their entries must have.
FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}


def provide(data: Coco, every_picture: bool = False) -> None:
    """Write every split of ``data`` in the LVIS v1 form, with a link to its images, and the record.

    Sizes of a sample of the pictures, or of every one, are compared with the annotations.

    Raises:
        ValueError: the annotations are damaged, contradict one another or the images, or have no masks.
        OSError: a file is missing.
    """
    records = {split: read(data.given(split).annotations) for split in data.splits}
    categories = _categories(data, records)
    seen = {}
    for split, record in records.items():
        files = data.given(split)
        whole = _in_lvis_form(data, split, record, categories)
        sizes = {files.images / each["file_name"]: (each["width"], each["height"]) for each in record["images"]}
        compared = check_sizes(sizes, every_picture)
        path = data.annotations(split)
        with atomic_path(path) as temporary:
            temporary.write_bytes(msgspec.json.encode(whole) + b"\n")
        link(data.images / split, files.images)
        seen[split] = {
            "file": str(files.annotations),
            "file_sha256": sha256(files.annotations),
            "sha256": sha256(path),
            "images": len(whole["images"]),
            "annotations": len(whole["annotations"]),
        }
        images, annotations = seen[split]["images"], seen[split]["annotations"]
        print(f"{path}: {images} images, {compared} of them read, {annotations} annotations", flush=True)
    groups = Counter(category["frequency"] for category in categories)
    print(f"{len(categories)} categories, r/c/f {'/'.join(str(groups[letter]) for letter in 'rcf')}")
    with atomic_path(data.attribution) as temporary:
        temporary.write_text("Pictures and annotations: " + ", ".join(str(files) for files in data.inputs) + ".\n")
    write_json(data.record, {"schema": 1, "splits": seen, "categories": len(categories)})


def read(path: Path) -> Record:
    """The record at ``path``; FileNotFoundError, or ValueError where it is not of COCO's form."""
    record = read_annotations(path, FIELDS, "annotations in COCO's form")
    for key in FIELDS:
        if not record[key]:
            raise ValueError(f"expected entries in the list `{key}` of {path}, found none: complete it")
    return record


def counts(record: Record) -> tuple[Counter[int], Counter[int]]:
    """Images that show each category, and its objects, by its id."""
    return count(entry for entry in record["annotations"] if not entry.get("iscrowd"))


def _categories(data: Coco, records: Mapping[str, Record]) -> list[Record]:
    """The categories, ascending, with counts and groups of the training split; the same in every split."""
    named = {split: {each["id"]: each["name"] for each in record["categories"]} for split, record in records.items()}
    for split, names in named.items():
        if names != named["train"]:
            different = sorted(set(names.items()) ^ set(named["train"].items()))[0]
            raise ValueError(
                f"expected the categories of train in {data.given(split).annotations}, found a difference in "
                f"{different}; give every split the same `categories`"
            )
    images, instances = counts(records["train"])
    return [
        {
            "id": key,
            "name": name,
            "image_count": images[key],
            "instance_count": instances[key],
            "frequency": frequency(images[key], data.settings.rare, data.settings.common),
        }
        for key, name in sorted(named["train"].items())
    ]


def _in_lvis_form(data: Coco, split: str, record: Record, categories: list[Record]) -> Record:
    source, folder = data.given(split).annotations, data.given(split).images
    known, sizes = {each["id"] for each in categories}, {each["id"]: each for each in record["images"]}
    annotations: list[Record] = []
    shown: dict[int, set[int]] = defaultdict(set)
    crowds: dict[int, set[int]] = defaultdict(set)
    for entry in record["annotations"]:
        if entry["image_id"] not in sizes or entry["category_id"] not in known:
            raise ValueError(
                f"expected annotations of the listed images and categories in {source}, found annotation "
                f"{entry['id']} of image {entry['image_id']}, category {entry['category_id']}; correct the file"
            )
        shown[entry["image_id"]].add(entry["category_id"])
        if entry.get("iscrowd"):
            if data.settings.crowds == "refused":
                raise ValueError(
                    f"expected no crowd regions in {source}, found annotation {entry['id']} with `iscrowd`: LVIS's "
                    "protocol, which scores here, has none. Say `crowds: not_exhaustive` in `data` to have detections "
                    "of their category in their image left uncounted, or remove them"
                )
            crowds[entry["image_id"]].add(entry["category_id"])
        else:
            annotations.append(_annotation(entry, sizes[entry["image_id"]], len(annotations) + 1, source))
    images = [_image(each, split, folder, known - shown[each["id"]], crowds[each["id"]]) for each in record["images"]]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(entry: Record, image: Record, number: int, source: Path) -> Record:
    """An annotation with an id from 1, as the official API needs it, and the area of its mask where it has none."""
    segmentation, where = entry.get("segmentation"), f"annotation {entry['id']} of {source}"
    if isinstance(segmentation, list):
        segmentation = [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
    if not segmentation:
        raise ValueError(
            f"expected a mask (polygons of three points or more, or an RLE) in {where}, found none; draw it, or remove "
            "the annotation"
        )
    size = [image["height"], image["width"]]
    if isinstance(segmentation, dict) and segmentation.get("size") != size:
        raise ValueError(
            f"expected an RLE of its image's height and width {size} in {where}, found {segmentation.get('size')}"
        )
    area = entry.get("area")
    if area is None:
        compressed = isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list)
        parts = segmentation if compressed else coco_mask.frPyObjects(segmentation, *size)
        area = float(coco_mask.area(coco_mask.merge(parts) if isinstance(parts, list) else parts))
    kept = {key: entry[key] for key in ("image_id", "category_id", "bbox")}
    return {"id": number, **kept, "area": area, "segmentation": segmentation}


def _image(entry: Record, split: str, folder: Path, absent: set[int], crowds: set[int]) -> Record:
    """An image; ``absent`` are its negatives where the file lists none, ``crowds`` join those not exhaustive."""
    name = Path(entry["file_name"])
    if name.is_absolute() or ".." in name.parts or not (folder / name).is_file():
        raise ValueError(
            f"expected the picture of image {entry['id']} below {folder}, found none at {name}; complete the "
            f"folder, or let data.splits.{split}.images name the one that `file_name` starts from"
        )
    return {
        "id": entry["id"],
        "width": entry["width"],
        "height": entry["height"],
        "coco_url": f"{URL_PREFIX}{split}/{name}",
        "neg_category_ids": sorted(entry.get("neg_category_ids", absent)),
        "not_exhaustive_category_ids": sorted({*entry.get("not_exhaustive_category_ids", ()), *crowds}),
    }
