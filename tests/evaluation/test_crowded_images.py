"""Images with as many judged detections and objects as a byte can and cannot count."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from gumbel.commands import main
from gumbel.evaluation.compare import compare
from gumbel.evaluation.protocol import MAX_DETECTIONS
from gumbel.report.drawing.samples import draw_samples
from tests.evaluation import federated

NUMBERS = (255, 256, 257, 300, 1000)


@pytest.fixture(scope="module", params=NUMBERS)
def crowd(request, tmp_path_factory):
    """Images 1 and 2 with as many objects, and a judged detection near each; annotations, detections, number."""
    number, rng = request.param, np.random.default_rng(request.param)
    folder = tmp_path_factory.mktemp("crowd")
    truth, _ = federated.generate(0, images=2)
    ids = [category["id"] for category in truth["categories"]]
    lists = {"neg_category_ids": ids[:3], "not_exhaustive_category_ids": []}
    truth["images"] = [
        {"id": k, "height": 120, "width": 160, "coco_url": f"http://images.cocodataset.org/{k}.png"} | lists
        for k in (1, 2)
    ]
    truth["annotations"], detections = [], []
    for image in truth["images"]:
        cv2.imwrite(str(folder / f"{image['id']}.png"), np.zeros((120, 160, 3), np.uint8))
        for _ in range(number):
            source = {"image_id": image["id"], "category_id": ids[rng.integers(len(ids))], "size": [120, 160]}
            box = [*rng.uniform(5, [120, 80]).tolist(), *rng.uniform(6, 30, 2).tolist()]
            outline = [box[0], box[1], box[0] + box[2], box[1], box[0] + box[2], box[1] + box[3]]
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": image["id"], "category_id": source["category_id"]}
                | {"bbox": box, "area": box[2] * box[3] / 2, "segmentation": [outline]}
            )
            box = (np.array(box) + rng.normal(0, 1, 4)).tolist()
            outline = [box[0], box[1], box[0] + box[2], box[1], box[0] + box[2], box[1] + box[3]]
            mask = rle.frPyObjects([outline], 120, 160)[0]
            detections.append(
                source | {"box": box, "score": float(rng.random()), "mask": mask | {"counts": mask["counts"].decode()}}
            )
    return *federated.write(folder, truth, detections), detections, number


@pytest.mark.parametrize("backend", ["compiled", "official"])
def test_every_option_of_evaluate_counts_them(crowd, backend, tmp_path):
    annotations, predictions, detections, number = crowd
    out = {name: tmp_path / name for name in ("m.json", "c.parquet", "b.npz", "e.json")}
    main(
        f"evaluate --annotations {annotations} --predictions {predictions} --output {out['m.json']} --backend {backend}"
        f" --per-category {out['c.parquet']} --bootstrap {out['b.npz']} --replicates 3 --errors {out['e.json']}".split()
    )
    metrics, errors = (json.loads(out[name].read_text()) for name in ("m.json", "e.json"))
    for iou_type in ("segm", "bbox"):
        expected = federated.official(annotations, detections, iou_type)
        assert metrics[iou_type] == pytest.approx({name: expected[name] for name in metrics[iou_type]}, abs=1e-12)
    kept = 2 * min(number, MAX_DETECTIONS)
    assert sum(errors["scores"]["true"]) + sum(errors["scores"]["false"]) == kept
    assert errors["AP50"]["all"] == pytest.approx(metrics["segm"]["AP50"], abs=1e-12)
    assert errors == federated.diagnose(annotations, predictions)


def test_compare_counts_them(crowd):
    annotations, predictions, detections, _ = crowd
    figures = compare(annotations, predictions, predictions, replicates=3).figures.set_index("figure")
    assert figures.loc["AP", "first"] == pytest.approx(federated.official(annotations, detections, "segm")["AP"])


def test_pictures_show_them(crowd):
    annotations, predictions, _, number = crowd
    shown = json.loads(annotations.read_text())["annotations"][0]["image_id"]
    (sample,) = draw_samples(annotations, annotations.parent, {"softmax": predictions}, chosen=[shown], failures=0)
    truth, found = sample.panels
    assert [len(panel.items) for panel in (truth, found)] == [number, number]
    assert 0 < sum(item.right for item in found.items) < number


def test_an_object_of_many_polygons_is_one_object(crowd, tmp_path):
    annotations, predictions, _, number = crowd
    truth = json.loads(annotations.read_text())
    parts = [[x, 10, x + 0.1, 10, x + 0.1, 90] for x in np.linspace(2, 150, number).tolist()]
    truth["annotations"][0] |= {"segmentation": parts, "area": 9000.0}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    record = federated.diagnose(tmp_path / "truth.json", predictions)
    assert record["AP50"]["all"] is not None
