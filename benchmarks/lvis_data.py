"""Time and memory of the stages that read LVIS's training annotations, on a generated file of LVIS's size.

    python benchmarks/lvis_data.py --scale 0.01
    python benchmarks/lvis_data.py                 # 100,170 images, 1,270,141 annotations, 1.1 GB

Each category has its true number of annotations, in its true number of images (configs/paper/lvis_v1_categories.csv);
boxes and outlines are made up, and recur. Every measurement runs in a process of its own. The last line is a JSON
record.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from evaluation import SPLITS, _annotations, _image, measure

from gumbel.analysis.object_distribution import object_distribution
from gumbel.datasets.annotations import URL_PREFIX
from gumbel.datasets.lvis_v1 import published
from gumbel.datasets.lvis_v1.checks import Rows, check_annotations, check_pictures
from gumbel.jobs import manifest

JOBS = {
    "sha256": "SHA-256",
    "verify": "verification",
    "pictures": "every picture there",
    "objects": "object distribution",
    "mmdet": "mmdet's LVISV1Dataset",
    "write": "the mapped one, first use",
    "map": "the mapped one, every later use",
}
SHAPES = 5_000  # different boxes and outlines
PICTURES = {"train2017": 118_287, "val2017": 5_000}


def scaled(scale: float) -> tuple[int, Rows]:
    """Images, and the categories with ``scale`` times their counts, at least one of each."""
    rows = [dict(row) for row in published().categories]
    for row in rows:
        for count in ("image_count", "instance_count"):
            row[count] = str(math.ceil(int(row[count]) * scale))
    return math.ceil(SPLITS["train"][0] * scale), rows


def write_annotations(path: Path, scale: float, seed: int) -> None:
    """An LVIS file with the counts of :func:`scaled`, written annotation by annotation."""
    rng = np.random.default_rng(seed)
    images, rows = scaled(scale)
    image, category = _objects(images, rows, rng)
    order = rng.permutation(len(image))
    shapes = [_shape(rng) for _ in range(SHAPES)]
    with path.open("w") as file:
        file.write('{"info": {"year": 2026}, "annotations": [')
        for number, at in enumerate(order.tolist(), 1):
            ids = f'"id": {number}, "image_id": {image[at]}, "category_id": {category[at]}'
            file.write(f"{', ' if number > 1 else ''}{{{ids}, {shapes[at % SHAPES]}}}")
        entries = [row | {"id": int(row["id"]), "synonyms": [row["name"]], "def": ""} for row in rows]
        file.write(f'], "categories": {json.dumps(entries)}, "images": ')
        file.write(json.dumps([_picture(rng, number, len(rows)) for number in range(1, images + 1)]) + "}")


def _shape(rng: np.random.Generator) -> str:
    """The members of an annotation that tell box and outline."""
    (entry,) = _annotations(rng, 0, [0], [0])
    return json.dumps({key: entry[key] for key in ("bbox", "area", "segmentation")})[1:-1]


def _objects(images: int, rows: Rows, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image and category of every annotation: each image of a category shows it once, the rest come at random."""
    image, category = [], []
    for row in rows:
        shown = 1 + rng.choice(images, int(row["image_count"]), replace=False)
        rest = rng.choice(shown, int(row["instance_count"]) - len(shown))
        image += [shown, rest]
        category.append(np.full(int(row["instance_count"]), int(row["id"])))
    return np.concatenate(image), np.concatenate(category)


def _picture(rng: np.random.Generator, number: int, categories: int) -> dict[str, Any]:
    entry = _image(number, rng.integers(1, categories + 1, 8).tolist())
    return entry | {"coco_url": f"{URL_PREFIX}train2017/{number:012d}.jpg"}


def load(kind: str, path: Path) -> int:
    """What a training does before its first image; returns the number of images that have annotations."""
    from mmdet.registry import DATASETS

    import gumbel.detection.loading  # noqa: F401 - registers its data set

    filters = {"filter_empty_gt": True, "min_size": 32}
    dataset = DATASETS.get(kind)(ann_file=str(path), data_prefix={"img": "images/"}, filter_cfg=filters, pipeline=[])
    return len(dataset)


def verify(path: Path, scale: float) -> dict[str, Any]:
    images, rows = scaled(scale)
    annotations = sum(int(row["instance_count"]) for row in rows)
    seen, _ = check_annotations(path, images, annotations, rows, counted=True)
    return {key: seen[key] for key in ("images", "annotations", "categories", "frequencies")}


def pictures(scale: float) -> list[str]:
    return [f"{folder}/{n:012d}.jpg" for folder, number in PICTURES.items() for n in range(math.ceil(number * scale))]


def run_job(job: str, root: Path, scale: float) -> dict[str, Any]:
    path = root / "train.json"
    if job == "sha256":
        return measure(lambda: manifest.sha256(path))
    if job == "verify":
        return measure(lambda: verify(path, scale))
    if job == "pictures":
        return measure(lambda: check_pictures(pictures(scale), {folder: root / folder for folder in PICTURES}))
    if job == "objects":
        return measure(lambda: float(object_distribution(path, 16)["probability"].sum()))
    return measure(lambda: load("LVISV1Dataset" if job == "mmdet" else "MappedLVISDataset", path))


def in_process(job: str, root: Path, scale: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--job", job, "--root", str(root), "--scale", str(scale)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures = json.loads(output.splitlines()[-1])
    print(
        f"{JOBS[job]:31} wall {figures['wall_s']:6} s  CPU {figures['cpu_s']:6} s  peak {figures['peak_gib']} GiB",
        flush=True,
    )
    return figures


def benchmark(scale: float, seed: int, jobs: list[str], root: Path) -> dict[str, Any]:
    generation = measure(lambda: write_annotations(root / "train.json", scale, seed))
    size = (root / "train.json").stat().st_size
    print(f"generated {size / 1e9:.3f} GB in {generation['wall_s']} s", flush=True)
    if "pictures" in jobs:
        for folder in PICTURES:
            (root / folder).mkdir()
        for name in pictures(scale):
            (root / name).write_bytes(b"0")
    return {"scale": scale, "seed": seed, "bytes": size} | {job: in_process(job, root, scale) for job in jobs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of LVIS's counts (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=JOBS, action="append", help="measure these alone")
    parser.add_argument("--folder", type=Path, help="where the temporary file goes (default: the system's choice)")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(run_job(options.job, options.root, options.scale)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(benchmark(options.scale, options.seed, options.only or list(JOBS), Path(folder))))


if __name__ == "__main__":
    main()
