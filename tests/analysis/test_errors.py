"""Types of error on made scenes, their costs against evaluation, histogram and calibration against counting."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle

from gumbel.analysis import errors
from gumbel.commands import main
from gumbel.evaluation.lvis_ap import score
from tests.evaluation import federated

SIZE = 100
CATEGORIES = [{"id": k, "name": f"c{k}", "frequency": "rcf"[k - 1], "image_count": 10**k} for k in (1, 2, 3)]


def _box(left: int, top: int, width: int, height: int) -> np.ndarray:
    canvas = np.zeros((SIZE, SIZE), np.uint8, order="F")
    canvas[top : top + height, left : left + width] = 1
    return canvas


def _scene(folder: Path, objects: list, found: list, **image: list) -> tuple[Path, Path]:
    """Files of one image: objects are (category, box), detections (category, score, box)."""
    lists = {"neg_category_ids": [1, 2, 3], "not_exhaustive_category_ids": []} | image
    truth = {
        "images": [{"id": 5, "height": SIZE, "width": SIZE, **lists}],
        "categories": CATEGORIES,
        "annotations": [
            {
                "id": number,
                "image_id": 5,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3],
                "segmentation": [_corners(*box)],
            }
            for number, (category, box) in enumerate(objects, start=1)
        ],
    }
    results = [
        {
            "image_id": 5,
            "category_id": category,
            "score": score,
            "bbox": list(box),
            "segmentation": _encode(_box(*box)),
        }
        for category, score, box in found
    ]
    (folder / "val.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    return folder / "val.json", folder / "results.json"


def _errors(annotations: Path, predictions: Path) -> errors.Errors:
    return errors.find_errors(score(annotations, predictions, ["segm"], overlaps=True).found)


def _encode(canvas: np.ndarray) -> dict:
    mask = rle.encode(canvas)
    return {"size": mask["size"], "counts": mask["counts"].decode()}


def _corners(left: float, top: float, width: float, height: float) -> list[float]:
    return [left, top, left + width, top, left + width, top + height, left, top + height]


def test_each_type_of_error_is_told_apart(tmp_path: Path) -> None:
    place, elsewhere = (10, 10, 20, 20), (60, 60, 20, 20)
    found = [
        (1, 0.9, place),  # true
        (1, 0.8, place),  # duplicate
        (2, 0.7, place),  # classification
        (1, 0.6, (20, 10, 20, 20)),  # localisation: IoU 1/3
        (2, 0.5, (20, 10, 20, 20)),  # both
        (3, 0.4, (35, 80, 9, 9)),  # background
    ]
    paths = _scene(tmp_path, [(1, place), (3, elsewhere)], found)
    result = _errors(*paths)
    kinds = ["true", "duplicate", "classification", "localisation", "both", "background"]
    assert [errors.KINDS[kind] for kind in result.kind] == kinds
    assert [errors.KINDS[kind] for kind in result.object_kind] == ["true", "missed"]


def test_unmatched_detections_of_a_category_not_annotated_exhaustively_are_left_out(tmp_path: Path) -> None:
    place = (10, 10, 20, 20)
    found = [(1, 0.9, place), (1, 0.8, (70, 70, 9, 9)), (2, 0.7, (70, 70, 9, 9))]
    paths = _scene(tmp_path, [(1, place)], found, not_exhaustive_category_ids=[1])
    assert [errors.KINDS[kind] for kind in _errors(*paths).kind] == ["true", "background"]


@pytest.mark.parametrize("seed", range(12))
def test_ap50_of_every_group_is_that_of_the_evaluation(tmp_path: Path, seed: int) -> None:
    truth, detections = federated.generate(seed)
    paths = federated.write(tmp_path, truth, detections)
    record = federated.diagnose(*paths)
    scores = score(*paths, iou_types=("segm",))
    table = scores.per_category
    assert record["AP50"]["all"] == pytest.approx(scores.metrics["segm"]["AP50"], abs=1e-12)
    for letter in "rcf":
        expected = table[table["frequency"] == letter]["AP50"].mean()
        assert record["AP50"][letter] == pytest.approx(expected, abs=1e-12)


def test_the_oracle_of_each_error_brings_the_ap_that_correct_detections_have(tmp_path: Path) -> None:
    one, two = (10, 10, 20, 20), (60, 60, 20, 20)
    objects = [(1, one), (1, two), (2, (10, 60, 20, 20))]
    cases = {
        "classification": [(1, 0.9, one), (2, 0.8, two)],
        "localisation": [(1, 0.9, one), (1, 0.8, (70, 60, 20, 20))],
        "background": [(1, 0.9, (40, 10, 9, 9)), (1, 0.8, one)],
        "duplicate": [(1, 0.9, one), (1, 0.8, one), (1, 0.7, two)],
    }
    corrected = {
        "classification": [(1, 0.9, one), (1, 0.8, two)],
        "localisation": [(1, 0.9, one), (1, 0.8, two)],
        "background": [(1, 0.8, one)],
        "duplicate": [(1, 0.9, one), (1, 0.7, two)],
    }
    for kind, found in cases.items():
        record = federated.diagnose(*_scene(tmp_path, objects, found))
        before = score(tmp_path / "val.json", tmp_path / "results.json")[0]["segm"]["AP50"]
        _scene(tmp_path, objects, corrected[kind])
        after = score(tmp_path / "val.json", tmp_path / "results.json")[0]["segm"]["AP50"]
        assert record["errors"][kind]["cost"]["all"] == pytest.approx(after - before, abs=1e-12), kind
        assert record["errors"][kind]["number"] == 1, kind


@pytest.mark.parametrize("seed", range(4))
def test_no_oracle_lowers_the_ap(tmp_path: Path, seed: int) -> None:
    truth, detections = federated.generate(seed)
    record = federated.diagnose(*federated.write(tmp_path, truth, detections))
    assert all(entry["cost"]["all"] >= -1e-12 for entry in record["errors"].values())


def test_missed_objects_are_no_longer_asked_for(tmp_path: Path) -> None:
    one, two = (10, 10, 20, 20), (60, 60, 20, 20)
    record = federated.diagnose(*_scene(tmp_path, [(1, one), (1, two)], [(1, 0.9, one)]))
    assert record["errors"]["missed"] == {"number": 1, "cost": record["errors"]["missed"]["cost"]}
    assert record["AP50"]["all"] + record["errors"]["missed"]["cost"]["all"] == pytest.approx(1.0)


def test_nothing_detected_is_only_missed(tmp_path: Path) -> None:
    record = federated.diagnose(*_scene(tmp_path, [(1, (10, 10, 20, 20))], []))
    assert {kind: entry["number"] for kind, entry in record["errors"].items() if entry["number"]} == {"missed": 1}
    assert record["calibration"]["error"] is None


@pytest.mark.parametrize(("scale", "shift"), [(100, 0), (8, -4), (1, 0.5)])
def test_types_of_error_are_of_probabilities_and_ap_of_any_scores_in_their_order(tmp_path: Path, scale, shift) -> None:
    truth, detections = federated.generate(1)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    expected, *_ = score(annotations, predictions)
    for one in detections:
        one["score"] = one["score"] * scale + shift
    annotations, predictions = federated.write(tmp_path, truth, detections)
    assert score(annotations, predictions)[0] == expected
    given = ["--annotations", str(annotations), "--predictions", str(predictions)]
    written = ["--output", str(tmp_path / "metrics.json"), "--errors", str(tmp_path / "errors.json")]
    first = next(one["score"] for one in detections if not 0 <= one["score"] <= 1)
    with pytest.raises(SystemExit, match=rf"scores in \[0, 1\] for --errors, found .* the first {first:g}"):
        main(["evaluate", *given, *written])
    assert not list(tmp_path.glob("*metrics*")), "nothing is written before that"


@pytest.mark.parametrize("option", ["--replicates=0", "--seed=-1"])
def test_options_are_refused_before_any_work(tmp_path: Path, option: str) -> None:
    files = ["--annotations", "none.json", "--predictions", "none.json", "--output", str(tmp_path / "metrics.json")]
    with pytest.raises(SystemExit, match=f"{option.partition('=')[0]}.* at least .* found"):
        main(["evaluate", *files, "--bootstrap", str(tmp_path / "b.npz"), option])


def test_the_histogram_holds_every_detection_once() -> None:
    draw = np.random.default_rng(0)
    score, hit = draw.random(500) ** 6, draw.random(500) < 0.3
    result = errors.histogram(score, hit)
    assert (sum(result["true"]), sum(result["false"])) == (hit.sum(), (~hit).sum())


def test_scores_that_are_probabilities_have_no_calibration_error() -> None:
    score = np.repeat([0.25, 0.75], 400)
    hit = np.concatenate([np.arange(400) < 100, np.arange(400) < 300])
    assert errors.calibration(score, hit)["error"] == pytest.approx(0.0)
    assert errors.calibration(score, ~hit)["error"] == pytest.approx(0.5)
