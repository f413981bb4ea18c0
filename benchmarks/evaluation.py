"""Time and memory of LVIS evaluation and of the object distribution, on generated data of LVIS's size.

    python benchmarks/evaluation.py --scale 0.1      # everything on a tenth of LVIS
    python benchmarks/evaluation.py --scale 1 --only masks --only all
    python benchmarks/evaluation.py --scale 1 --only masks --only all --against ../before
    python benchmarks/evaluation.py --scale 1 --only objects

The data has LVIS v1's numbers of images, annotations and categories (category counts from
configs/paper/lvis_v1_categories.csv), and 262 detections an image: near hits, duplicates, wrong classes, ties, empty
masks, and in a quarter of the images as many judged detections as the cap of 300 admits. Every measurement runs in a
process of its own, reading included; ``--against`` runs the command of another checkout on the same data, before ours,
and compares what both wrote. ``--repeat`` measures several times and takes the fastest. The last line is a JSON record.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pycocotools.mask as rle

from gumbel.analysis.object_distribution import object_distribution
from gumbel.evaluation.ground_truth import read_ground_truth
from gumbel.evaluation.lvis_ap import official_figures
from gumbel.evaluation.official_backend import load_api, precision_and_recall
from gumbel.evaluation.predictions import PredictionWriter, read_predictions
from gumbel.evaluation.protocol import MAX_DETECTIONS, select
from gumbel.paths import CONFIGS, REPOSITORY

SPLITS = {"train": (100_170, 1_270_141), "val": (19_809, 244_707)}  # images, annotations of LVIS v1
DETECTIONS = 263  # per image: 5.2 million on val
HEIGHT, WIDTH, VERTICES = 480, 640, 50
BLOCK = 5000  # annotations that are drawn and written at a time
JOBS = {
    "masks": "AP of masks",
    "all": "AP, 10,000 replicates and types of error, masks and boxes",
    "thousand": "AP, 1,000 replicates and types of error, masks and boxes",
    "official": "AP of masks, official API in chunks",
    "whole": "AP of masks, official API whole",
    "objects": "object distribution",
}
OPTIONS = {
    "masks": "--iou-type segm",
    "all": "--per-category per_category.parquet --bootstrap bootstrap.npz --errors errors.json",
}
OPTIONS["thousand"] = f"{OPTIONS['all']} --replicates 1000"


def categories() -> list[dict[str, Any]]:
    return pd.read_csv(CONFIGS / "paper" / "lvis_v1_categories.csv").to_dict("records")


def write_annotations(path: Path, split: str, scale: float, seed: int) -> None:
    """An LVIS file of ``scale`` times the size of ``split``, written annotation by annotation."""
    rng = np.random.default_rng(seed)
    images, annotations = (max(1, round(number * scale)) for number in SPLITS[split])
    rows = categories()
    share = np.array([row["instance_count"] for row in rows]) / sum(row["instance_count"] for row in rows)
    category = rng.choice(len(rows), annotations, p=share)
    image = rng.integers(images, size=annotations)
    negative = rng.integers(1, len(rows) + 1, (images, 8))
    with path.open("w") as file:
        file.write('{"info": {"year": 2026}, "annotations": [')
        for first in range(0, annotations, BLOCK):
            rows_here = slice(first, first + BLOCK)
            ids = [rows[k]["id"] for k in category[rows_here]]
            entries = _annotations(rng, first + 1, (image[rows_here] + 1).tolist(), ids)
            file.write((", " if first else "") + json.dumps(entries)[1:-1])
        file.write(f'], "categories": {json.dumps(rows)}, "images": ')
        file.write(json.dumps([_image(number + 1, negative[number].tolist()) for number in range(images)]) + "}")


def _image(number: int, negative: list[int]) -> dict[str, Any]:
    lists = {
        "neg_category_ids": sorted(set(negative)),
        "not_exhaustive_category_ids": negative[:1] if number % 4 == 0 else [],
    }
    return {"id": number, "height": HEIGHT, "width": WIDTH, **lists}


def _annotations(
    rng: np.random.Generator, first: int, images: list[int], categories: list[int]
) -> list[dict[str, Any]]:
    boxes = _boxes(rng, len(images))
    columns = zip(images, categories, boxes.tolist(), _outlines(rng, boxes, VERTICES), strict=True)
    return [
        {"id": number, "image_id": image, "category_id": category, "bbox": box}
        | {"area": round(box[2] * box[3] * 0.7, 2), "segmentation": [polygon]}
        for number, (image, category, box, polygon) in enumerate(columns, start=first)
    ]


def _boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    """x, y, width, height in pixels, (number, 4)."""
    size = np.exp(rng.normal(4, 0.9, (number, 2))).clip(6, [WIDTH - 1, HEIGHT - 1])
    return np.concatenate([rng.uniform(0, [WIDTH, HEIGHT] - size), size], axis=1).round(2)


def _outlines(rng: np.random.Generator, boxes: np.ndarray, vertices: int) -> list[list[float]]:
    """A rough ellipse in each box: its polygon as x, y, x, y, ..."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = rng.uniform(0.42, 0.5, (len(boxes), vertices, 1))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = boxes[:, None, :2] + boxes[:, None, 2:] * (0.5 + radius * circle)
    return points.round(2).reshape(len(boxes), -1).tolist()


def write_predictions(truth: Path, parquet: Path, official: Path, seed: int) -> int:
    """Detections on ``truth`` as Parquet and as official JSON; returns their number."""
    rng = np.random.default_rng(seed + 1)
    record = json.loads(truth.read_bytes())
    ids = [row["id"] for row in record["categories"]]
    found: dict[int, list[tuple[int, list[float]]]] = {}
    for entry in record.pop("annotations"):
        found.setdefault(entry["image_id"], []).append((entry["category_id"], entry["bbox"]))
    total = 0
    with PredictionWriter(parquet) as writer, official.open("w") as file:
        for image in record["images"]:
            known = found.get(image["id"], [])
            absent = image["neg_category_ids"]
            source = np.array([k for k, _ in known] + absent)
            boxes = np.concatenate([np.reshape([box for _, box in known], (-1, 4)), _boxes(rng, len(absent))])
            number = int(rng.choice([DETECTIONS - 40, DETECTIONS, 340], p=[0.5, 0.25, 0.25]))
            chosen = rng.integers(len(source), size=number)
            judged = 1.0 if number > MAX_DETECTIONS else 0.5
            category = np.where(rng.random(number) < judged, source[chosen], rng.choice(ids, number))
            boxes = boxes[chosen] + rng.normal(0, 0.06, (number, 4)) * boxes[chosen][:, [2, 3, 2, 3]]
            boxes[:, 2:] = boxes[:, 2:].clip(2)
            score = rng.beta(0.5, 3, number).astype(np.float32).round(3 if image["id"] % 2 else 8)
            masks = rle.frPyObjects(_outlines(rng, boxes, 24), HEIGHT, WIDTH)
            writer.write(image["id"], category, score, boxes.astype(np.float32), masks)
            entries = _records(image["id"], category.tolist(), score.tolist(), masks)
            file.write((", " if total else "[") + json.dumps(entries)[1:-1])
            total += number
        file.write("]")
    return total


def _records(image: int, category: list[int], score: list[float], masks: list[Any]) -> list[dict[str, Any]]:
    """The official results format for masks, which carries no box."""
    return [
        {"image_id": image, "category_id": k, "score": s}
        | {"segmentation": {"size": mask["size"], "counts": mask["counts"].decode()}}
        for k, s, mask in zip(category, score, masks, strict=True)
    ]


def measure(job: Callable[[], Any]) -> dict[str, Any]:
    """Run ``job`` and return wall and CPU seconds, and the process's peak of memory in GiB."""
    start = time.perf_counter()
    result = job()
    return _figures(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)) | {"result": result}


def _figures(seconds: float, usage: resource.struct_rusage) -> dict[str, Any]:
    cpu = usage.ru_utime + usage.ru_stime
    return {"wall_s": round(seconds, 1), "cpu_s": round(cpu, 1), "peak_gib": round(usage.ru_maxrss / 2**20, 2)}


def run_whole(root: Path) -> dict[str, float | None]:
    """The official API as its authors run it: all categories at once."""
    evaluation = load_api().LVISEval(str(root / "val.json"), str(root / "results.json"), "segm")
    evaluation.run()
    return {name: None if value == -1 else float(value) for name, value in evaluation.get_results().items()}


def run_official(root: Path) -> dict[str, float | None]:
    truth, detections = read_ground_truth(root / "val.json"), read_predictions(root / "predictions.parquet")
    rows = select(truth, detections).rows
    return official_figures(*precision_and_recall(truth, detections, rows, "segm"), truth.frequencies)


def run_job(job: str, root: Path) -> dict[str, Any]:
    if job == "objects":
        return measure(lambda: float(object_distribution(root / "train.json", 16)["probability"].sum()))
    return measure(lambda: run_whole(root) if job == "whole" else run_official(root))


def in_process(job: str, root: Path, code: Path = REPOSITORY) -> dict[str, Any]:
    """Figures of a job; of the command, as the checkout ``code`` has it, with what it wrote."""
    start = time.perf_counter()
    if job in OPTIONS:
        folder = root / code.name / job
        folder.mkdir(parents=True, exist_ok=True)
        files = f"--annotations {root / 'val.json'} --predictions {root / 'predictions.parquet'} --output metrics.json"
        command = [sys.executable, "-m", "gumbel", "evaluate", *files.split(), *OPTIONS[job].split()]
        with subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(code)}) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        figures = _figures(time.perf_counter() - start, usage)
        figures["result"] = json.loads((folder / "metrics.json").read_text())["segm"]
    else:
        command = [sys.executable, __file__, "--job", job, "--root", str(root)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures = json.loads(output.splitlines()[-1])
    print(
        f"{JOBS[job]:60} wall {figures['wall_s']:7} s  CPU {figures['cpu_s']:7} s  peak {figures['peak_gib']} GiB"
        + ("" if code == REPOSITORY else "  (before)"),
        flush=True,
    )
    return figures


def benchmark(
    scale: float, seed: int, jobs: list[str], root: Path, against: Path | None = None, repeat: int = 1
) -> dict[str, Any]:
    report: dict[str, Any] = {"scale": scale, "seed": seed}
    if "objects" in jobs:
        write_annotations(root / "train.json", "train", scale, seed)
        report["objects"] = in_process("objects", root)
        report["objects"]["file_gib"] = round((root / "train.json").stat().st_size / 2**30, 2)
    ours = [job for job in jobs if job in OPTIONS]
    theirs = [job for job in jobs if job in ("official", "whole")]
    if ours or theirs:
        write_annotations(root / "val.json", "val", scale, seed)
        report["detections"] = write_predictions(
            root / "val.json", root / "predictions.parquet", root / "results.json", seed
        )
        report["file"] = sizes(root)
    for job in ours:
        runs: dict[Path, list[dict[str, Any]]] = {code: [] for code in (against, REPOSITORY) if code}
        for _ in range(repeat):
            for code in runs:
                runs[code].append(in_process(job, root, code))
        report[job] = min(runs[REPOSITORY], key=lambda run: run["wall_s"])
        if against:
            report[f"{job} before"] = min(runs[against], key=lambda run: run["wall_s"])
            report[f"{job} ratio"] = compare(report[job], report[f"{job} before"], f"{job}: before")
            report[f"{job} ratio"]["same_files"] = same_files(*(root / code.name / job for code in runs))
    for job in theirs:
        report[job] = in_process(job, root)
        if "masks" in report:
            report[f"{job} ratio"] = compare(report["masks"], report[job], job)
    return report


def same_files(first: Path, second: Path) -> bool:
    """Whether metrics, categories, replicates and types of error of two runs are the same to the last bit."""
    records = [json.loads((folder / "metrics.json").read_text()) for folder in (first, second)]
    same = all(records[0].get(iou_type) == records[1].get(iou_type) for iou_type in ("segm", "bbox"))
    if (second / "errors.json").exists():
        same &= (first / "errors.json").read_bytes() == (second / "errors.json").read_bytes()
        tables = [pd.read_parquet(folder / "per_category.parquet") for folder in (first, second)]
        same &= tables[0].equals(tables[1])
        with np.load(first / "bootstrap.npz") as one, np.load(second / "bootstrap.npz") as other:
            same &= sorted(one) == sorted(other)
            same &= all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)
    return bool(same)


def sizes(root: Path) -> dict[str, float]:
    parquet, official = ((root / name).stat().st_size for name in ("predictions.parquet", "results.json"))
    print(f"predictions: Parquet {parquet / 2**20:.1f} MiB, {parquet / official:.3f} of the official JSON")
    return {"parquet_mib": round(parquet / 2**20, 1), "share_of_json": round(parquet / official, 3)}


def compare(ours: dict[str, Any], theirs: dict[str, Any], job: str) -> dict[str, float]:
    """How many times more the other takes, and the largest difference of a figure."""
    ratio = {key: round(theirs[key] / ours[key], 2) for key in ("wall_s", "cpu_s", "peak_gib")}
    figures = (np.array([side["result"][name] for name in ours["result"]], dtype=float) for side in (ours, theirs))
    ratio["difference"] = difference(*figures)
    print(f"{job} / ours: {ratio}")
    return ratio


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference; what is undefined (NaN) must be so on both sides."""
    undefined = np.isnan(first), np.isnan(second)
    return float(np.abs(first - second)[~undefined[0]].max()) if np.array_equal(*undefined) else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="share of LVIS's images (default 0.1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=JOBS, action="append", help="run these alone")
    parser.add_argument("--against", type=Path, help="another checkout, whose command is measured as well")
    parser.add_argument("--repeat", type=int, default=1, help="times that the command is measured (default 1)")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(run_job(options.job, options.root)))
        return
    against = options.against.resolve() if options.against else None
    with tempfile.TemporaryDirectory() as folder:
        jobs = options.only or list(JOBS)
        print(json.dumps(benchmark(options.scale, options.seed, jobs, Path(folder), against, options.repeat)))


if __name__ == "__main__":
    main()
