"""Loading training images with the masks kept in their boxes, against mmdet's own bitmaps.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --images 64 --objects 40

One thread, generated JPEGs of 640 x 480 and polygons, the augmentation of the paper. A worker's share is reading,
augmenting and pickling for the training process; that one's share is unpickling, padding the batch and making what the
mask loss compares with, for boxes near the objects. Both sides must give the same tensors. The last line is a JSON
record.
"""

import argparse
import json
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from scipy.ndimage import gaussian_filter

import gumbel.detection.boxed_masks
import gumbel.detection.loading  # noqa: F401 - both register transforms
from gumbel.paths import REPOSITORY

HEIGHT, WIDTH = 480, 640
BATCH = 4
#: Boxes of an image whose masks the loss looks at; mmdet samples 128 at most.
BOXES = 64


def photographs(folder: Path, number: int, objects: int, seed: int) -> list[dict[str, Any]]:
    """What mmdet's data sets say of each image: its file, and its objects with polygons."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(number):
        path = folder / f"{index}.jpg"
        smooth = gaussian_filter(rng.standard_normal((HEIGHT, WIDTH, 3)), (8, 8, 0)) * 900 + 128
        cv2.imwrite(str(path), np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))
        instances = []
        for label in range(objects):
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(8, 40)))[:, None]
            radius = min(rng.gamma(2, 30), HEIGHT / 3)
            centre = rng.uniform(radius, [WIDTH - radius, HEIGHT - radius])
            points = centre + radius * rng.uniform(0.6, 1, angles.shape) * np.hstack([np.cos(angles), np.sin(angles)])
            box = [*points.min(0), *points.max(0)]
            mask = [points.round(2).ravel().tolist()]
            instances.append({"bbox": box, "bbox_label": label, "mask": mask, "ignore_flag": 0})
        records.append(
            {"img_path": str(path), "img_id": index, "height": HEIGHT, "width": WIDTH, "instances": instances}
        )
    return records


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def measure(pipeline: Compose, records: list[dict[str, Any]], seed: int) -> tuple[float, float, list[Any]]:
    """Milliseconds an image of a worker and of the training process, and the batches."""
    preprocess = DetDataPreprocessor(pad_mask=True, pad_size_divisor=32)
    np.random.seed(seed)  # noqa: NPY002 - what mmcv draws from
    worker, training, batches = 0.0, 0.0, []

    def receive(sent: bytes) -> Any:
        batch = preprocess(pickle.loads(sent), training=True)
        for sample in batch["data_samples"]:
            objects = torch.arange(BOXES) % len(sample.gt_instances)
            near = sample.gt_instances.bboxes[objects] + torch.linspace(-3, 3, BOXES)[:, None]
            sample.targets = sample.gt_instances.masks.crop_and_resize(near, (28, 28), objects)
        return batch

    for start in range(0, len(records), BATCH):
        images = [pickle.loads(pickle.dumps(record)) for record in records[start : start + BATCH]]
        seconds, sent = timed(lambda: pickle.dumps(pseudo_collate([pipeline(image) for image in images])))  # noqa: B023
        worker += seconds
        seconds, batch = timed(lambda: receive(sent))  # noqa: B023
        training += seconds
        batches.append(batch)
    return 1000 * worker / len(records), 1000 * training / len(records), batches


def same(left: list[Any], right: list[Any]) -> bool:
    return all(
        torch.equal(a["inputs"], b["inputs"])
        and all(
            np.array_equal(x.gt_instances.masks.masks, y.gt_instances.masks.masks)
            and np.array_equal(x.targets.masks, y.targets.masks)
            and torch.equal(x.gt_instances.labels, y.gt_instances.labels)
            and torch.equal(x.gt_instances.bboxes, y.gt_instances.bboxes)
            for x, y in zip(a["data_samples"], b["data_samples"], strict=True)
        )
        for a, b in zip(left, right, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--objects", type=int, default=12, help="in an image (LVIS train has 12.7)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope("mmdet")
    ours = Config.fromfile(REPOSITORY / "configs/datasets/lvis_v1.py").train_pipeline
    stocked = {"LoadBoxedAnnotations": "LoadAnnotations", "LoadAnnotatedImage": "LoadImageFromFile"}
    stock = [{**step, "type": stocked.get(step.type, step.type)} for step in ours]
    assert stock != ours, "expected the data set's pipeline to load boxed masks"
    record = {}
    with tempfile.TemporaryDirectory() as folder:
        records = photographs(Path(folder), arguments.images, arguments.objects, arguments.seed)
        batches = {}
        for name, steps in (("mmdet", stock), ("boxed", ours)):
            runs = [measure(Compose(steps), records, arguments.seed) for _ in range(arguments.repeats)]
            worker, training, batches[name] = min(run[0] for run in runs), min(run[1] for run in runs), runs[0][2]
            record[name] = {"worker_ms": worker, "training_ms": training, "images_a_second_and_core": 1000 / worker}
            print(f"{name:6} worker {worker:6.1f} ms, training process {training:6.1f} ms an image")
    assert same(batches["mmdet"], batches["boxed"]), "expected the same tensors of both"
    record["ratio"] = {key: record["mmdet"][key] / record["boxed"][key] for key in ("worker_ms", "training_ms")}
    print(f"ratio  worker {record['ratio']['worker_ms']:6.2f}, training process {record['ratio']['training_ms']:6.2f}")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
