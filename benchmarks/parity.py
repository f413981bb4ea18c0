"""The largest difference of each figure from the official LVIS API, over random federated data.

    python -m benchmarks.parity --draws 40

The data is that of the tests: tied scores, duplicates, empty images, categories without ground truth, lists that are
not exhaustive, boxes, masks and annotations of zero area; every fourth draw has an image with more than 300 detections.
Prints how often each of these occurred, then a row per figure; the last line is JSON.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from gumbel.evaluation.lvis_ap import BACKENDS, score
from tests.evaluation import federated

IOU_TYPES = ("segm", "bbox")


def draw(seed: int, root: Path, seen: Counter[str], difference: dict[tuple[str, str, str], float]) -> None:
    """Compare all figures of both backends on one random data set."""
    truth, detections = federated.generate(seed, images=10, crowded=400 if seed % 4 == 0 else 0)
    annotations, predictions = federated.write(root, truth, detections)
    expected = {iou_type: federated.official(annotations, detections, iou_type) for iou_type in IOU_TYPES}
    for backend in BACKENDS:
        record, *_ = score(annotations, predictions, backend=backend)
        for iou_type in IOU_TYPES:
            for figure, value in record[iou_type].items():
                key = backend, iou_type, figure
                difference[key] = max(difference.get(key, 0.0), distance(value, expected[iou_type][figure]))
    seen.update(occurrences(truth, detections, record["protocol"]["detections"]))
    seen["undefined figures"] += sum(value is None for figures in expected.values() for value in figures.values())


def distance(ours: float | None, official: float | None) -> float:
    """Absolute difference; infinite where one is undefined and the other is not."""
    if ours is None or official is None:
        return 0.0 if ours is official else float("inf")
    return abs(ours - official)


def occurrences(truth: dict[str, Any], detections: list[dict[str, Any]], counts: dict[str, Any]) -> dict[str, int]:
    shown = {entry["image_id"] for entry in truth["annotations"]}
    scores = Counter((one["image_id"], one["category_id"], one["score"]) for one in detections)
    return {
        "detections": len(detections),
        "detections over the cap of 300": counts["over_the_cap"],
        "detections with an empty mask": counts["zero_area"]["segm"],
        "detections with an empty box": counts["zero_area"]["bbox"],
        "detections of one score with another": sum(n for n in scores.values() if n > 1),
        "detections of categories that are not judged in the image": counts["not_judged"],
        "annotations": len(truth["annotations"]),
        "annotations of zero area": sum(entry["area"] <= 0 for entry in truth["annotations"]),
        "images": len(truth["images"]),
        "images without annotations": sum(image["id"] not in shown for image in truth["images"]),
        "categories not exhaustive in an image": sum(len(i["not_exhaustive_category_ids"]) for i in truth["images"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    difference: dict[tuple[str, str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.draws):
            draw(seed, Path(folder), seen, difference)
    for name, number in seen.items():
        print(f"{number:8} {name}")
    columns = [(backend, iou_type) for backend in BACKENDS for iou_type in IOU_TYPES]
    print(f"{'figure':8}" + "".join(f"{' '.join(column):>18}" for column in columns))
    for figure in dict.fromkeys(key[2] for key in difference):
        print(f"{figure:8}" + "".join(f"{difference[(*column, figure)]:18.1e}" for column in columns))
    print(json.dumps({"draws": options.draws, "seen": seen, "largest": max(difference.values())}))


if __name__ == "__main__":
    main()
