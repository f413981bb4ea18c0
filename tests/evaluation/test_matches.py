"""Matches against the official API's, detection by detection, and where their compiled code is kept."""

import copy
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pycocotools.mask as rle
import pytest

from gumbel.commands import main
from gumbel.evaluation import bootstrap, predictions
from gumbel.evaluation.ground_truth import read_ground_truth
from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.official_backend import load_api
from gumbel.evaluation.protocol import AREAS
from gumbel.evaluation.segmentations import object_mask
from gumbel.paths import REPOSITORY
from tests.evaluation import federated


def in_every_form(truth):
    """A third of the objects as polygons, a third as compressed and a third as uncompressed RLE."""
    changed = copy.deepcopy(truth)
    size = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    for annotation in changed["annotations"]:
        mask = object_mask(annotation["segmentation"], *size[annotation["image_id"]])
        if annotation["id"] % 3 == 1:
            annotation["segmentation"] = mask | {"counts": mask["counts"].decode()}
        elif annotation["id"] % 3 == 2:
            annotation["segmentation"] = {"size": mask["size"], "counts": runs(rle.decode(mask))}
    return changed


def runs(pixels):
    """Lengths of runs in the order of columns, the first of zeros."""
    flat = np.concatenate([[0], pixels.T.ravel(), [2]])
    ends = np.flatnonzero(np.diff(flat))
    lengths = np.diff(np.concatenate([[0], ends])).tolist()
    return lengths if pixels[0, 0] == 0 else [0, *lengths[1:]]


def official_bits(annotations, detections, iou_type):
    """By category and range of areas: true, and true or false, a bit a threshold, of what counts, by falling score."""
    lvis = load_api()
    truth = lvis.LVIS(str(annotations))
    results = lvis.LVISResults(truth, federated.official_records(detections, iou_type))
    evaluation = lvis.LVISEval(truth, results, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    found = {}
    for k, by_area in evaluation.eval["dt_pointers"].items():
        for area, pointers in by_area.items():
            true, false = (np.array(pointers.get(key, np.zeros((10, 0))), dtype=int) for key in ("tps", "fps"))
            bits = [np.left_shift(flags, np.arange(10)[:, None]).sum(axis=0) for flags in (true, true | false)]
            counted = bits[1] > 0
            found[k, area] = [values[counted].tolist() for values in bits]
    return found


@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(4))
def test_every_detection_is_true_false_or_ignored_as_in_the_official_api(tmp_path, monkeypatch, seed, iou_type):
    monkeypatch.setattr(predictions, "_ROWS", 70)  # of a part: several parts, the last one smaller
    truth, detections = federated.generate(seed, images=10, crowded=400 * (seed == 3))
    annotations, found = federated.write(tmp_path, in_every_form(truth), detections)
    expected = official_bits(annotations, detections, iou_type)
    rankings = federated.match(annotations, found, iou_type).rankings
    assert len(expected) == federated.CATEGORIES * len(AREAS)
    for (category, area), bits in expected.items():
        own = rankings[area].category == category
        found = [rankings[area].true[own].tolist(), rankings[area].counted[own].tolist()]
        # The API sees no category without objects
        assert found == bits or not (rankings[area].object_category == category).any()


@pytest.mark.parametrize("kept", ["annotations", "detections", "neither"])
def test_data_without_detections_or_objects_are_matched(tmp_path, kept):
    truth, detections = federated.generate(0)
    truth["annotations"] = truth["annotations"] if kept == "annotations" else []
    found = federated.match(*federated.write(tmp_path, truth, detections if kept == "detections" else []), "segm")
    figures = bootstrap.resample(found, 3).point
    assert figures["AP"][0] == 0 if kept == "annotations" else np.isnan(figures["AP"][0])


def test_the_command_writes_intervals_and_errors_beside_the_figures(tmp_path):
    annotations, predictions = federated.write(tmp_path, *federated.generate(1))
    names = {name: tmp_path / name for name in ("metrics.json", "b.npz", "e.json", "c.parquet")}
    given = ["evaluate", "--annotations", annotations, "--predictions", predictions, "--output", names["metrics.json"]]
    more = ["--bootstrap", names["b.npz"], "--replicates", 20, "--seed", 3, "--errors", names["e.json"]]
    command = list(map(str, [*given, *more, "--per-category", names["c.parquet"]]))
    for _ in range(2):  # the second time all outputs exist
        main(command)
    assert json.loads(names["metrics.json"].read_text()) == score(annotations, predictions)[0]
    assert json.loads(names["e.json"].read_text()) == federated.diagnose(annotations, predictions)
    for iou_type, found in bootstrap.load(names["b.npz"]).items():
        expected = bootstrap.resample(federated.match(annotations, predictions, iou_type), 20, 3)
        assert np.array_equal(found.bootstrap["AP"], expected.bootstrap["AP"], equal_nan=True)
    manifest = json.loads((tmp_path / "manifests" / "metrics.json.json").read_text())
    assert set(manifest["inputs"]) == {str(annotations), str(predictions)}


def test_errors_of_boxes_are_refused_before_anything_is_scored(tmp_path):
    truth, detections = federated.generate(1)
    annotations, _ = federated.write(tmp_path, truth, detections)
    (tmp_path / "p.json").write_text(json.dumps(federated.official_records(detections, "bbox")))
    given = f"evaluate --annotations {annotations} --predictions {tmp_path}/p.json --iou-type bbox"
    with pytest.raises(SystemExit, match="expected masks for --errors"):
        main(f"{given} --output {tmp_path}/m.json --errors {tmp_path}/e.json".split())
    main(f"{given} --output {tmp_path}/m.json --bootstrap {tmp_path}/b.npz --replicates 3".split())
    assert list(bootstrap.load(tmp_path / "b.npz")) == ["bbox"]


def test_annotations_without_images_are_refused(tmp_path):
    annotations, _ = federated.write(tmp_path, {"images": [], "annotations": [], "categories": []}, [])
    with pytest.raises(ValueError, match="expected images in the annotations, found none"):
        read_ground_truth(annotations)


def test_code_is_compiled_where_it_cannot_be_kept():
    program = (
        "import numba.core.caching\n"
        "numba.core.caching.CacheImpl._locator_classes = []\n"
        "from gumbel.evaluation.compiled import compiled\n"
        "import numpy as np\n"
        "@compiled\n"
        "def fill(values):\n"
        "    for k in range(len(values)):\n"
        "        values[k] = 1 / (k - 1)\n"
        "values = np.zeros(3)\n"
        "fill(values)\n"
        "print(values.tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[-1.0, inf, 1.0]\n"


def test_an_installation_compiles_all_that_an_evaluation_needs(tmp_path):
    shutil.copytree(REPOSITORY / "gumbel", tmp_path / "gumbel", ignore=shutil.ignore_patterns("__pycache__"))
    annotations, found = federated.write(tmp_path, *federated.generate(0))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}

    def compiled_files(*command):
        subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=True, capture_output=True, env=environment)
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "gumbel").rglob("*.nb[ci]")}

    prepared = compiled_files("gumbel.evaluation.compiled")
    options = "--output m.json --bootstrap b.npz --replicates 3 --errors e.json --iou-type segm bbox boundary"
    given = f"--annotations {annotations} --predictions {found}"
    assert prepared == compiled_files(*f"gumbel evaluate {given} {options}".split())
    (tmp_path / "p.json").write_text("[]")
    assert prepared == compiled_files(*f"gumbel compare {found} p.json --annotations {annotations}".split())
    assert "-m gumbel.evaluation.compiled\n" in (REPOSITORY / "Makefile").read_text()
