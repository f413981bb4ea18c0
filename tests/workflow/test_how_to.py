"""The pages on adding an architecture and one's own data, followed to the end in a copy of the project."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from pycocotools import mask as coco_mask

from gumbel.paths import REPOSITORY
from tests.detection.conftest import TINY
from tests.workflow.checkout import environment, new_checkout

HOW_TO = REPOSITORY / "docs" / "how-to"
SIDE = 64


def block(page: str, language: str, number: int = 0) -> str:
    """A code block of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL)[number]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the project with the architecture of the page, and one like it that needs no weights."""
    root = new_checkout(tmp_path_factory.mktemp("how_to") / "checkout", "test", iterations=30, checkpoint_interval=10)
    model = block("add-an-architecture.md", "python")
    (root / "configs" / "models" / "mask_rcnn_r18.py").write_text(model)
    scratch = model.replace('"resnet18-f37072fd"', "None").replace("M-R18", "M-scratch")
    (root / "configs" / "models" / "scratch.py").write_text(scratch)
    with (root / "configs" / "models" / "backbones.yaml").open("a") as file:
        file.write(block("add-an-architecture.md", "yaml"))
    return root


def run(checkout: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=checkout, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_page_on_adding_an_architecture_adds_a_row(checkout):
    mini = yaml.safe_load((checkout / "configs" / "experiments" / "mini.yaml").read_text())
    line = yaml.safe_load(block("add-an-architecture.md", "yaml", 1))
    assert line["architectures"][0] in mini["architectures"]
    tiny = {**TINY, **line, "activations": ["gumbel"], "released_scoring": []}
    (checkout / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    found = run(checkout, "gumbel", "doctor", "--experiment", "tiny.yaml", "--skip", "gpu", "--skip", "data")
    assert "ok   mask_rcnn_r18/gumbel/seed0 one step" in found
    # From ImageNet, as the page has it, its weights are fetched first
    from_imagenet = {key: value for key, value in tiny.items() if key != "warm_start"}
    (checkout / "imagenet.yaml").write_text(yaml.safe_dump(from_imagenet))
    planned = run(checkout, "snakemake", "-n", "--configfile", "imagenet.yaml")
    assert "data/backbones/resnet18-f37072fd.pth" in planned
    assert "results/tiny/mask_rcnn_r18/gumbel/seed0/config.py" in planned


def write_coco(root: Path, split: str, images: int, crowd: bool) -> None:
    """Pictures and annotations as people have them: ids from 0, subfolders, polygons and both forms of RLE."""
    draw = np.random.default_rng(len(split))
    record: dict = {"images": [], "annotations": [], "categories": [{"id": k, "name": f"thing {k}"} for k in (0, 7)]}
    for image in range(images):
        name = f"{split}/of {image % 2}/{image}.png"
        picture = draw.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        (root / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        for category in (0, 7)[: 1 + image % 2]:
            x, y, width, height = 4 + 24 * (category > 0), int(draw.integers(4, 30)), 20, 24
            picture[y : y + height, x : x + width] = (255, 40, 40) if category else (40, 40, 255)
            mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
            mask[y : y + height, x : x + width] = 1
            rle = coco_mask.encode(mask)
            runs = np.diff(np.flatnonzero(np.diff(np.r_[2, mask.ravel(order="F"), 2]))).tolist()
            forms = [
                [[x, y, x + width, y, x + width, y + height, x, y + height]],
                {"size": [SIDE, SIDE], "counts": rle["counts"].decode()},
                {"size": [SIDE, SIDE], "counts": runs},
            ]
            number = len(record["annotations"])
            entry = {"id": number, "image_id": image, "category_id": category, "bbox": [x, y, width, height]}
            record["annotations"].append(entry | {"segmentation": forms[number % 3], "iscrowd": 0})
        cv2.imwrite(str(root / "pictures" / name), picture)
        record["images"].append({"id": image, "file_name": name, "width": SIDE, "height": SIDE})
    if crowd:
        region = {"id": 1000, "image_id": 0, "category_id": 7, "bbox": [0, 0, 4, 4], "iscrowd": 1}
        record["annotations"].append(region | {"segmentation": forms[1], "area": 16})
    (root / f"{split}.json").write_text(json.dumps(record))


@pytest.mark.slow
def test_the_page_on_your_own_data_leads_from_coco_files_to_the_report(checkout, tmp_path):
    """With Seesaw, EQLv2 and an architecture of one's own, so that every axis of the matrix is somebody's own."""
    own = tmp_path / "my data"
    write_coco(own, "train", images=16, crowd=True)
    write_coco(own, "val", images=6, crowd=False)
    experiment = yaml.safe_load(block("add-a-data-set.md", "yaml"))
    assert set(experiment["data"]["splits"]) == {"train", "val"}
    experiment |= {"data_root": str(own), "architectures": ["scratch"], "seeds": [0], "schedule": "test", "batch": 4}
    experiment |= {"activations": ["softmax", "gumbel", "seesaw", "eqlv2"], "widths": TINY["widths"]}
    experiment["data"] = {
        "splits": {name: {"annotations": f"{name}.json", "images": "pictures"} for name in ("train", "val")},
        "train_sizes": [[SIDE, SIDE]],
        "test_size": [SIDE, SIDE],
        "rare": 4,
        "common": 8,
    }
    experiment["regions"] = TINY["regions"]
    path = checkout / "configs" / "experiments" / "own.yaml"
    path.write_text(yaml.safe_dump(experiment))
    refused = subprocess.run(
        [sys.executable, "-m", "gumbel", "data", "--experiment", "own"],
        cwd=checkout, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert re.search(r"no crowd regions in .*train\.json, found annotation 1000.*not_exhaustive", refused.stderr)

    experiment["data"]["crowds"] = "not_exhaustive"
    path.write_text(yaml.safe_dump(experiment))
    run(checkout, "gumbel", "data", "--experiment", "own")
    written = json.loads((checkout / "data" / "coco" / "own" / "train.json").read_text())
    assert [(each["id"], each["image_count"], each["frequency"]) for each in written["categories"]] == [
        (0, 16, "f"),
        (7, 8, "c"),
    ]
    assert {tuple(each["neg_category_ids"]) for each in written["images"]} == {(7,), ()}
    assert [each["not_exhaustive_category_ids"] for each in written["images"]][:2] == [[7], []]
    assert [each["area"] for each in written["annotations"]] == [20 * 24] * 24
    found = run(checkout, "gumbel", "doctor", "--experiment", "own", "--skip", "gpu")
    assert re.search(r"(\d+) of \1 checks passed", found)

    run(checkout, "snakemake", "--cores", "2", "--configfile", str(path))
    summary = pd.read_parquet(checkout / "results" / "own" / "summary.parquet")
    assert set(summary[summary["source"] == "cell"]["state"]) == {"done"}
    ap = summary[(summary["source"] == "evaluation") & (summary["metric"] == "AP") & (summary["iou_type"] == "segm")]
    assert set(ap["activation"]) == {"softmax", "gumbel", "seesaw", "eqlv2"}
    assert ap["value"].between(0, 1).all()
    page = (checkout / "reports" / "summary.html").read_text()
    for words in ("M-scratch", "Seesaw", "EQLv2"):
        assert words in page
    again = run(checkout, "snakemake", "--cores", "2", "--configfile", str(path), "-n")
    assert "Nothing to be done" in again
