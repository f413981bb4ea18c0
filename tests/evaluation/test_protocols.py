"""Boundary AP, AP-fixed and lists of images against the official API, and predictions that miss images."""

import json
import logging

import cv2
import numpy as np
import pycocotools.mask as rle
import pytest

from gumbel.commands import main
from gumbel.evaluation import masks, predictions, protocol
from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.official_backend import load_api
from gumbel.evaluation.segmentations import Rle, read_segmentations
from tests.evaluation import federated


def boundary(mask, ratio=0.02):
    """The definition, on pixels: what an erosion as deep as ``ratio`` of the diagonal takes, as a compressed RLE."""
    pixels = rle.decode(mask)
    deep = max(round(ratio * float(np.hypot(*pixels.shape))), 1)
    padded = cv2.copyMakeBorder(pixels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=deep)[1:-1, 1:-1]
    return rle.encode(np.asfortranarray(pixels - inner))


def official(annotations, records, iou_type, max_dets=300):
    """Figures of the official API; of ``boundary`` with the smaller one of the IoU of masks and of their boundaries."""
    lvis = load_api()
    logging.getLogger("lvis").setLevel(logging.ERROR)

    class Evaluation(lvis.LVISEval):
        def compute_iou(self, image, category):
            iou = super().compute_iou(image, category)
            known, found = self._get_gt_dt(image, category)
            if iou_type != "boundary" or not known or not found:
                return iou
            order = np.argsort([-one["score"] for one in found], kind="mergesort")
            edges = [[boundary(one["segmentation"]) for one in side] for side in ([found[k] for k in order], known)]
            return np.minimum(iou, rle.iou(*edges, [0] * len(known)))

    truth = lvis.LVIS(str(annotations))
    evaluation = Evaluation(truth, lvis.LVISResults(truth, records, max_dets), "bbox" if iou_type == "bbox" else "segm")
    evaluation.params.max_dets = max_dets
    evaluation.run()
    return {name: None if value == -1 else float(value) for name, value in evaluation.get_results().items()}


@pytest.mark.parametrize("size", [(5, 9), (40, 60), (200, 90)])
def test_boundaries_are_those_of_an_erosion(size):
    rng = np.random.default_rng(size[0])
    encoded = [rle.encode(np.zeros(size, np.uint8, order="F")), rle.encode(np.ones(size, np.uint8, order="F"))]
    for _ in range(60):
        pixels = np.zeros(size, np.uint8, order="F")
        for _ in range(rng.integers(1, 6)):  # overlapping rectangles: bays, holes, several parts, cut by the border
            (top, left), (bottom, right) = np.sort(rng.integers(0, np.add(size, 1), (2, 2)), axis=0)
            pixels[top:bottom, left:right] ^= 1
        encoded.append(rle.encode(pixels))
    shape = np.array([size] * len(encoded), np.int32)
    chosen = np.arange(len(encoded)) % 7 != 3
    whole = read_segmentations([Rle(size, mask["counts"].decode()) for mask in encoded])
    found = masks.boundaries(whole.fill(np.arange(len(encoded), dtype=np.int32), shape), shape, chosen)
    for k, mask in enumerate(encoded):
        drawn = np.zeros(size[0] * size[1], np.uint8)
        for n in range(found.ends[k], found.ends[k + 1]):
            drawn[found.start[n] : found.stop[n]] = 1
        expected = rle.decode(boundary(mask)) if chosen[k] else np.zeros(size)
        assert np.array_equal(drawn.reshape(size, order="F"), expected)
        assert found.area[k] == expected.sum()


@pytest.mark.parametrize("seed", range(6))
def test_boundary_ap_is_the_official_evaluation_of_the_definition(tmp_path, seed):
    truth, detections = federated.generate(seed, images=12, crowded=400 * (seed == 5))
    annotations, found = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, found, ("boundary", "segm"))
    expected = official(annotations, federated.official_records(detections, "segm"), "boundary")
    assert record["boundary"] == {name: expected[name] for name in record["boundary"]}
    assert record["boundary"]["AP"] < record["segm"]["AP"]


@pytest.mark.parametrize("iou_type", ["segm", "bbox", "boundary"])
@pytest.mark.parametrize("seed", range(3))
def test_ap_fixed_is_the_official_evaluation_of_the_best_detections_of_each_category(
    tmp_path, monkeypatch, seed, iou_type
):
    monkeypatch.setitem(protocol.PROTOCOLS, "fixed", protocol.Protocol(None, 40))
    truth, detections = federated.generate(seed, images=4, crowded=500)
    annotations, found = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, found, (iou_type,), protocol="fixed")
    kept = []
    for category in {one["category_id"] for one in detections}:
        own = [one for one in detections if one["category_id"] == category]
        kept += sorted(own, key=lambda one: one["score"], reverse=True)[:40]
    records = federated.official_records(kept, "bbox" if iou_type == "bbox" else "segm")
    expected = official(annotations, records, iou_type, max_dets=-1)
    figures = {name: value for name, value in record[iou_type].items() if name.startswith("AP")}
    assert figures == {name: expected[name] for name in figures}
    assert record[iou_type]["AR@300"] is None
    assert record["protocol"]["detections"]["over_the_cap"] == len(detections) - len(kept) > 0
    assert record["protocol"]["name"] == "fixed"


def test_ap_fixed_keeps_ten_thousand_detections_of_a_category_and_any_number_of_an_image():
    assert protocol.PROTOCOLS["fixed"] == (None, 10_000)


@pytest.mark.parametrize("form", ["ids", "annotations"])
def test_a_list_of_images_scores_as_a_file_of_these_images_does(tmp_path, form):
    truth, detections = federated.generate(3, images=20)
    annotations, found = federated.write(tmp_path, truth, detections)
    chosen = [image["id"] for image in truth["images"]][::3]
    part = truth | {"images": [image for image in truth["images"] if image["id"] in chosen]}
    part["annotations"] = [entry for entry in truth["annotations"] if entry["image_id"] in chosen]
    (tmp_path / "list.json").write_text(json.dumps(chosen if form == "ids" else part))
    (tmp_path / "part").mkdir()
    alone = federated.write(tmp_path / "part", part, [one for one in detections if one["image_id"] in chosen])
    scores = score(annotations, found, images=tmp_path / "list.json")
    expected = score(*alone)
    for iou_type in ("segm", "bbox"):
        assert scores.metrics[iou_type] == expected.metrics[iou_type]
    assert scores.per_category.equals(expected.per_category)
    left_out = sum(one["image_id"] not in chosen for one in detections)
    record = scores.metrics
    assert record["protocol"]["detections"]["in_other_images"] == left_out
    assert record["protocol"]["images"] == len(chosen)


@pytest.mark.parametrize("ids", [[], [1], [2, 10**9]])
def test_a_list_of_images_that_are_not_there_is_refused(tmp_path, ids):
    annotations, found = federated.write(tmp_path, *federated.generate(0))
    (tmp_path / "list.json").write_text(json.dumps(ids))
    with pytest.raises(ValueError, match="expected ids of images of the annotations"):
        score(annotations, found, images=tmp_path / "list.json")


def test_the_command_takes_every_protocol(tmp_path):
    truth, detections = federated.generate(1)
    annotations, found = federated.write(tmp_path, truth, detections)
    (tmp_path / "list.json").write_text(json.dumps([image["id"] for image in truth["images"]][:5]))
    main(
        f"evaluate --annotations {annotations} --predictions {found} --output {tmp_path}/m.json --protocol fixed"
        f" --iou-type boundary --images {tmp_path}/list.json".split()
    )
    record = json.loads((tmp_path / "m.json").read_text())
    options = {"images": tmp_path / "list.json", "protocol": "fixed"}
    assert record == score(annotations, found, ("boundary",), **options)[0]
    manifest = json.loads((tmp_path / "manifests" / "m.json.json").read_text())
    assert str(tmp_path / "list.json") in manifest["inputs"]


@pytest.mark.parametrize(("missing", "warned"), [(0, False), (6, False), (7, True), (19, True)])
def test_images_without_detections_are_counted_and_many_are_warned_of(tmp_path, recwarn, missing, warned):
    truth, detections = federated.generate(0, images=20)
    ids = [image["id"] for image in truth["images"]]
    every = [detections[0] | {"image_id": image["id"], "mask": encoded(image)} for image in truth["images"]]
    kept = [one for one in every if one["image_id"] in ids[missing:]]
    record, *_ = score(*federated.write(tmp_path, truth, kept))
    assert record["protocol"]["detections"]["images_without"] == missing
    assert any(f"{missing} of 20 images have no detections" in str(one.message) for one in recwarn) == warned


def encoded(image):
    mask = rle.encode(np.ones((image["height"], image["width"]), np.uint8, order="F"))
    return mask | {"counts": mask["counts"].decode()}


def test_where_the_detections_of_an_image_stand_together_a_group_of_images_is_read_at_a_time(tmp_path, monkeypatch):
    truth, detections = federated.generate(2, images=30)
    annotations, scattered = federated.write(tmp_path, truth, detections)
    expected = score(annotations, scattered, overlaps=True)
    monkeypatch.setattr(predictions, "_ROWS", 40)
    found = tmp_path / "together.parquet"
    with predictions.PredictionWriter(found) as writer:
        for image in dict.fromkeys(one["image_id"] for one in detections):  # in any order
            own = [one for one in detections if one["image_id"] == image]
            columns = ([one[key] for one in own] for key in ("category_id", "score", "box", "mask"))
            writer.write(image, *columns)
    whole = predictions.read_predictions(found).shapes
    monkeypatch.setattr(predictions.Predictions, "shapes", property(lambda self: pytest.fail("read whole")))
    scanned = predictions.read_predictions(found)
    assert len(scanned.groups) - 1 > 3
    rows = np.argsort(scanned.image_id, kind="stable")
    seen = []
    for part, shapes in scanned.parts(rows):
        assert len(shapes.box) == len(part) <= 80
        seen.append(set(scanned.image_id[rows[part]].tolist()))
        assert shapes.masks() == whole.take(rows[part]).masks()
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(set(scanned.image_id.tolist()))
    read = score(annotations, found, overlaps=True)
    assert {name: read.metrics[name] for name in ("segm", "bbox")} == {
        name: expected.metrics[name] for name in ("segm", "bbox")
    }
    for own, other in zip(read.found.overlaps, expected.found.overlaps, strict=True):
        assert np.array_equal(own, other)


@pytest.mark.parametrize("counts", ["0", "zzzzzzzzzzzzzzzz", "P", "1" * 9])
def test_masks_with_damaged_counts_are_refused(tmp_path, counts):
    truth, detections = federated.generate(0)
    detections[5]["mask"]["counts"] = counts
    with pytest.raises(ValueError, match="found 1 with damaged counts"):
        score(*federated.write(tmp_path, truth, detections), ("segm",))
