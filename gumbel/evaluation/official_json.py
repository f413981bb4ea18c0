"""The official LVIS results, a JSON list of detections (https://github.com/lvis-dataset/lvis-api)."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gumbel.datasets.entries import Box, Id, Length, brief, is_box, is_id, is_number
from gumbel.datasets.json_stream import read_json
from gumbel.evaluation.predictions import NO_SHAPES, Predictions, Shapes, spans_between


class _Rle(msgspec.Struct, gc=False):
    size: tuple[Length, Length]
    counts: str


class _Record(msgspec.Struct, gc=False):
    """A detection of the official results."""

    image_id: Id
    category_id: Id
    score: float
    bbox: Box | msgspec.UnsetType = msgspec.UNSET
    segmentation: _Rle | msgspec.UnsetType = msgspec.UNSET


def read(path: Path) -> Predictions:
    """Detections of the official results. Raises ValueError for what is no such list, whole and well-formed."""
    try:
        records = msgspec.json.decode(path.read_bytes(), type=list[_Record])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        records = msgspec.convert(_checked(path), list[_Record])
    has_box, has_mask = (_on_all(records, key, path) for key in ("bbox", "segmentation"))
    if records and not (has_box or has_mask):
        raise ValueError(f"expected `segmentation` or `bbox` in every detection, found neither in {path}")
    masks: list[Any] = [record.segmentation for record in records] if has_mask else []
    encoded = [mask.counts.encode() for mask in masks]
    shapes = Shapes(
        box=np.array([record.bbox for record in records], dtype=np.float64).reshape(-1, 4) if has_box else None,
        mask_size=np.array([mask.size for mask in masks], dtype=np.int32).reshape(-1, 2) if has_mask else None,
        counts=np.frombuffer(b"".join(encoded), np.uint8) if has_mask else None,
        spans=spans_between(np.cumsum([0, *map(len, encoded)])) if has_mask else None,
    )
    return Predictions(
        image_id=np.array([record.image_id for record in records], dtype=np.int64),
        category_id=np.array([record.category_id for record in records], dtype=np.int64),
        score=np.array([record.score for record in records], dtype=np.float64),
        groups=np.array([0, len(records)]),
        read=lambda *_: shapes if records else NO_SHAPES,
    )


def _checked(path: Path) -> list[dict[str, Any]]:
    """Detections record by record, to name what is wrong with the first one that is."""
    records = read_json(path, "predictions, Parquet or the official JSON results,")
    if not isinstance(records, list):
        raise ValueError(f"expected a list of detections in {path}, found {brief(records)}: give the official results")
    for position, record in enumerate(records):
        _check_record(record, f"detection {position} of {path}")
    return records


def _check_record(record: Any, where: str) -> None:
    """Refuse what the evaluators accept in silence: a missing key, a score that is not a number, a polygon."""
    if not isinstance(record, dict):
        raise ValueError(f"expected an object with image_id, category_id and score, found {brief(record)} as {where}")
    for key in ("image_id", "category_id"):
        if not is_id(record.get(key)):
            raise ValueError(
                f"expected a whole number of at most 64 bits as `{key}`, found {brief(record.get(key))} in {where}"
            )
    if not is_number(record.get("score")):
        raise ValueError(f"expected a finite number as `score`, found {brief(record.get('score'))} in {where}")
    if "bbox" in record and not is_box(record["bbox"]):
        raise ValueError(f"expected `bbox` as [x, y, width, height], found {brief(record['bbox'])} in {where}")
    match record.get("segmentation", {"size": [0, 0], "counts": ""}):
        case {"size": [int(), int()], "counts": str()}:
            return
    raise ValueError(
        f"expected a compressed RLE as `segmentation`, as the official API does, found another form in {where}"
    )


def _on_all(records: list[_Record], key: str, path: Path) -> bool:
    """Whether all records carry ``key`` (none of none do); ValueError if only some do."""
    number = sum(getattr(record, key) is not msgspec.UNSET for record in records)
    if 0 < number < len(records):
        raise ValueError(
            f"expected `{key}` in all detections or in none, found it in {number} of {len(records)} of {path}"
        )
    return number > 0
