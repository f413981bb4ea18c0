"""A complete experiment folder of invented results: 15 cells, data, predictions, analyses."""

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pandas as pd
from pycocotools import mask as coco_mask

from gumbel.analysis import errors, object_distribution
from gumbel.datasets.annotations import URL_PREFIX
from gumbel.evaluation import bootstrap
from gumbel.evaluation.metrics import OF_GROUPS
from gumbel.evaluation.predictions import PredictionWriter
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import status
from gumbel.jobs.files import atomic_path, write_json
from gumbel.paths import CellPaths, ExperimentPaths

Made = TypeVar("Made")

ARCHITECTURES = ["mask_rcnn_r50", "mask_rcnn_r101", "mask_rcnn_x101", "cascade_r101", "htc_r101"]
NAMES = ["banana", "teddy_bear", "mug", "clock", "kite", "<b>lamp</b>", "pigeon", "shoe", "zebra"]
#: Gumbel's AP lies this far above softmax's; what is not named is as softmax.
LEAD = defaultdict(float, {"sigmoid": 0.013, "gumbel": 0.032})
SPREAD = defaultdict(lambda: 0.30, {"sigmoid": 0.22, "gumbel": 0.09})


def make_experiment(**changes: object) -> Experiment:
    """An experiment like ``mini``, with ``changes``."""
    record: dict[str, object] = {
        "name": "fake",
        "description": "Invented results that show what the page looks like.",
        "reproduction": False,
        "dataset": "mini",
        "data_root": "data/mini",
        "architectures": ARCHITECTURES,
        "activations": ["softmax", "sigmoid", "gumbel"],
        "splits": ["val", "val_uniform"],
        "schedule": "mini",
        "batch": 4,
        "warm_start": {"split": "warm_start", "schedule": "mini_warm_start"},
        "widths": {"base_channels": 16},
        "released_scoring": ["sigmoid"],
        "snapshots": [40, 70],
    }
    return Experiment.model_validate(record | changes)


def build(root: Path, experiment: Experiment, categories: int = 45) -> None:
    """Write every file of ``experiment`` below ``root``."""
    draw = np.random.default_rng(0)
    table = _categories(categories)
    _write_data(root / experiment.data_root, table, draw)
    for number, cell in enumerate(matrix.cells(experiment)):
        write_cell(root, experiment, cell, table, np.random.default_rng(number))
    write_recipe(root, experiment)
    for architecture in experiment.architectures:
        write_json(root / ExperimentPaths(experiment.name).warm_start(architecture).manifest, _manifest(0, 40.0))
    counts = np.array([category["image_count"] for category in table])
    places = draw.dirichlet(np.full(experiment.grid**2, 0.05), len(table)).reshape(-1, experiment.grid, experiment.grid)
    object_distribution.save(
        root / ExperimentPaths(experiment.name).object_distribution,
        {
            "category_id": np.array([category["id"] for category in table]),
            "frequency": np.array([category["frequency"] for category in table]),
            "image_count": counts,
            "image_probability": counts / 800,
            "probability": places * (counts / 800)[:, None, None],
            "expected": counts / 800 / experiment.grid**2,
            "location_entropy": np.linspace(0.1, 0.8, len(table)),
            "images": np.array(800),
        },
    )


def below(root: Path, make: Callable[..., Made], *arguments: object) -> Made:
    """What ``make`` gives where the results lie below ``root``."""
    with chdir(root):
        return make(*arguments)


def write_recipe(root: Path, experiment: Experiment) -> None:
    """Two deviations from the released recipe: one of every cell, and one of sigmoid, without a reason."""
    every = [
        {"field": "dataset", "label": "Data", "released": "lvis_v1", "ours": "mini", "reason": "small on purpose"}
        | {"architecture": cell.architecture, "activation": cell.activation}
        for cell in matrix.cells(experiment)
        if cell.seed == experiment.seeds[0]
    ]
    some = [
        row | {"field": "batch", "label": "Batch size", "released": 16, "ours": 4, "reason": None}
        for row in every
        if row["activation"] == "sigmoid"
    ]
    record = {"schema": 1, "compared": 900, "equal": 900 - len(every + some), "deviations": every + some}
    write_json(root / ExperimentPaths(experiment.name).recipe, record)


def write_cell(
    root: Path, experiment: Experiment, cell: matrix.Cell, table: list[dict], draw: np.random.Generator
) -> None:
    """Write every file of one cell."""
    paths = CellPaths(root / cell.paths(experiment).root)
    status.write(paths.status, status.Status(state="done", iteration=400, iterations=400, loss=1.0))
    write_json(paths.manifest, _manifest(cell.seed, 150.0 + 10 * draw.random()))
    paths.checkpoint.touch()
    _parquet(paths.history, _history(cell, draw))
    _parquet(paths.weight_norms, _norms(cell, table, draw))
    for split, scoring in matrix.scored(experiment, cell.activation):
        metrics = _metrics(cell, split, scoring, draw)
        write_json(paths.metrics(split, scoring), metrics)
        _parquet(paths.per_category(split, scoring), _per_category(metrics["segm"]["AP"], table, draw))
        if split == experiment.splits[0]:
            bootstrap.save(paths.bootstrap(split, scoring), _resamples(metrics, draw))
            write_json(paths.errors(split, scoring), _errors(cell, draw))
    for percent in experiment.snapshots:
        write_json(paths.at(percent).metrics(experiment.splits[0], "matched"), _metrics(cell, "val", "matched", draw))
    paths.config.write_text(f"# {cell}\n# about 3 minutes; expected APr unknown\nmodel = dict(type='MaskRCNN')\n")
    predictions = paths.predictions("val", "matched")
    _write_predictions(root / experiment.data_root / "val.json", predictions, draw)


def _categories(number: int) -> list[dict]:
    counts = np.geomspace(1, 600, number).round().astype(int)
    return [
        {
            "id": 10 + 3 * k,
            "name": NAMES[k % len(NAMES)] + ("" if k < len(NAMES) else f"_{k}"),
            "image_count": int(count),
            "frequency": "r" if count <= 10 else "c" if count <= 100 else "f",
        }
        for k, count in enumerate(counts)
    ]


def _write_data(folder: Path, table: list[dict], draw: np.random.Generator) -> None:
    images, annotations = [], []
    for image_id in range(1, 9):
        canvas = cv2.GaussianBlur(draw.integers(60, 220, (128, 128, 3), dtype=np.uint8), (0, 0), 6)
        for _ in range(4):
            centre, axes = draw.integers(25, 103, 2).tolist(), draw.integers(10, 24, 2).tolist()
            polygon = cv2.ellipse2Poly(centre, axes, int(draw.integers(180)), 0, 360, 12)
            cv2.fillPoly(canvas, [polygon], draw.integers(0, 255, 3).tolist(), cv2.LINE_AA)
            category = table[int(draw.integers(len(table)))]
            box = [float(v) for v in cv2.boundingRect(polygon)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category["id"],
                    "segmentation": [polygon.ravel().astype(float).tolist()],
                    "bbox": box,
                    "area": float(cv2.contourArea(polygon)),
                }
            )
        name = f"val/{image_id:012d}.png"
        (folder / "images" / "val").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / name), canvas)
        image = {"id": image_id, "height": 128, "width": 128, "coco_url": URL_PREFIX + name}
        images.append(image | {"neg_category_ids": [], "not_exhaustive_category_ids": []})
    write_json(folder / "val.json", {"images": images, "annotations": annotations, "categories": table})
    (folder / "ATTRIBUTION.md").write_text("Pictures: OpenMoji, CC BY-SA 4.0.\n<script>alert(1)</script>\n")


def _write_predictions(annotations: Path, path: Path, draw: np.random.Generator) -> None:
    record = json.loads(annotations.read_text())
    ids = [category["id"] for category in record["categories"]]
    with PredictionWriter(path) as writer:
        for image in record["images"]:
            truth = [a for a in record["annotations"] if a["image_id"] == image["id"]]
            masks = [coco_mask.merge(coco_mask.frPyObjects(a["segmentation"], 128, 128)) for a in truth]
            found = [a["category_id"] if draw.random() < 0.7 else ids[int(draw.integers(len(ids)))] for a in truth]
            writer.write(image["id"], found, draw.random(len(truth)), [a["bbox"] for a in truth], masks)


def _metrics(cell: matrix.Cell, split: str, scoring: str, draw: np.random.Generator) -> dict:
    ap = 0.15 + 0.01 * ARCHITECTURES.index(cell.architecture) + LEAD[cell.activation] + 0.004 * draw.standard_normal()
    ap -= 0.05 * (split == "val_uniform") + 0.02 * (scoring == "released")
    segm = {"AP": ap, "AP50": 1.7 * ap, "AP75": 0.9 * ap, "APs": 0.5 * ap, "APm": ap, "APl": None}
    segm |= {"APr": max(0.0, ap - 0.14), "APc": ap, "APf": 1.4 * ap, "AR@300": 1.5 * ap}
    return {"schema": 1, "segm": segm, "bbox": {**segm, "AP": 1.05 * ap}, "protocol": {"max_detections": 300}}


def _per_category(ap: float, table: list[dict], draw: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(table).rename(columns={"id": "category_id"}).assign(ground_truths=3)
    parts = []
    for iou_type in ("segm", "bbox"):
        values = np.clip(ap * (0.5 + np.linspace(0, 1, len(table)) + 0.6 * draw.standard_normal(len(table))), 0, 1)
        values[1::7] = np.nan
        parts.append(frame.assign(iou_type=iou_type, AP=values, AP50=1.5 * values))
    return pd.concat(parts, ignore_index=True)


def _resamples(metrics: dict, draw: np.random.Generator) -> dict[str, bootstrap.Resamples]:
    """Resamples about the invented figures: a luck that all models share, and some of their own."""
    shared = np.random.default_rng(1).standard_normal(100)
    result = {}
    for kind in ("segm", "bbox"):
        known = {name: np.nan if value is None else value for name, value in metrics[kind].items()}
        result[kind] = bootstrap.Resamples(
            point={name: np.array([value]) for name, value in known.items()},
            bootstrap={n: v + 0.006 * shared + 0.003 * draw.standard_normal(100) for n, v in known.items()},
            jackknife={name: value + 0.0008 * draw.standard_normal(50) for name, value in known.items()},
            categories={name: known[name] * np.linspace(0, 2, 7) for name in OF_GROUPS},
            images=np.arange(1, 9),
            seed=0,
        )
    return result


def _errors(cell: matrix.Cell, draw: np.random.Generator) -> dict:
    kinds = dict(zip(errors.ERRORS, (0.08, 0.06, 0.01, 0.002, 0.05, 0.2), strict=True))
    cost = {kind: value * (1 - 4 * LEAD[cell.activation]) for kind, value in kinds.items()}
    score = draw.random(600) ** 4
    hit = draw.random(600) < score
    groups = {"all": 1.0, "r": 1.5, "c": 1.0, "f": 0.6}
    return {
        "schema": 1,
        "iou": 0.5,
        "AP50": dict.fromkeys(groups, 0.3),
        "errors": {k: {"number": 40, "cost": {g: v * share for g, share in groups.items()}} for k, v in cost.items()},
        "scores": errors.histogram(score, hit),
        "calibration": errors.calibration(score, hit),
    }


def _history(cell: matrix.Cell, draw: np.random.Generator) -> pd.DataFrame:
    iteration = np.arange(1, 401)
    loss = 4 * np.exp(-iteration / 120) * (1 + 5 * LEAD[cell.activation]) + 0.6 + 0.15 * draw.random(400)
    frame = pd.DataFrame(
        {
            "iteration": iteration,
            "loss": 2 * loss,
            "loss_rpn_cls": loss / 9,
            "acc": 90 + iteration / 100,
            "lr": 0.002,
            "seconds": 0.4,
            "waited": 0.012,
        }
    )
    cascaded = cell.architecture in ("cascade_r101", "htc_r101")
    for name, share in {"s0.": 0.5, "s1.": 0.3, "s2.": 0.2}.items() if cascaded else [("", 1.0)]:
        frame[f"{name}loss_cls"] = share * loss
    return frame


def _norms(cell: matrix.Cell, table: list[dict], draw: np.random.Generator) -> pd.DataFrame:
    counts = np.array([category["image_count"] for category in table])
    stages = []
    for stage in range(3 if cell.architecture in ("cascade_r101", "htc_r101") else 1):
        spread = SPREAD[cell.activation]
        frame = pd.DataFrame(table).rename(columns={"id": "category_id"})
        noise = 0.03 * draw.standard_normal(len(counts))
        if cell.activation == "gumbel":
            noise = spread * draw.standard_normal(len(counts))
        else:
            noise += spread * (np.log(counts) / np.log(counts).max() - 0.5) * 2
        stages.append(frame.assign(stage=stage, norm=1.5 + noise, bias=-4.6))
    return pd.concat(stages, ignore_index=True)


def _manifest(seed: int, seconds: float) -> dict:
    return {
        "schema": 1, "host": "node-17", "python": "3.11.7", "versions": {"torch": "2.13.0+cpu", "mmdet": "3.3.0"},
        "started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:07:05+00:00", "seconds": seconds,
        "config_sha256": "ab" * 32, "data_sha256": {"data/mini/train.json": "cd" * 32}, "seed": seed, "iterations": 400,
        "batch_size": 4, "learning_rate": 0.002, "optimizer": "AdamW", "device": "cpu", "parameters": 1_423_000,
        "commit": "0123456789ab", "loss_cls": ["ActivationLoss(activation=gumbel)"], "peak_memory_bytes": 900_000_000,
    }  # fmt: skip


def _parquet(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False)
