"""LVIS AP against the official API, and input that must not be scored."""

import copy
import hashlib
import json
import statistics

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.predictions import PredictionWriter
from tests.evaluation import federated

METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300"]
IOU_TYPES = ("segm", "bbox")


def assert_official(record, annotations, detections):
    for iou_type in IOU_TYPES:
        expected = federated.official(annotations, detections, iou_type)
        assert list(record[iou_type]) == METRICS
        for name, value in record[iou_type].items():
            assert value == pytest.approx(expected[name], abs=1e-9), (iou_type, name)


@pytest.mark.parametrize("backend", ["compiled", "official"])
@pytest.mark.parametrize("seed", range(12))
def test_every_figure_equals_the_official_apis(tmp_path, seed, backend):
    truth, detections = federated.generate(seed)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, predictions, backend=backend)
    assert_official(record, annotations, detections)


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_the_official_apis_with_more_than_300_detections_an_image(tmp_path, seed):
    truth, detections = federated.generate(seed, images=3, crowded=500)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, predictions)
    assert_official(record, annotations, detections)
    assert record["protocol"]["detections"]["over_the_cap"] > 0
    assert min(record["protocol"]["detections"]["zero_area"].values()) > 0


def test_batches_of_images_and_chunks_of_categories_change_nothing(tmp_path, monkeypatch):
    truth, detections = federated.generate(3, images=30)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    monkeypatch.setattr("gumbel.evaluation.predictions._ROWS", 30)
    monkeypatch.setattr("gumbel.evaluation.official_backend._CHUNK", 40)
    for backend in ("compiled", "official"):
        assert_official(score(annotations, predictions, backend=backend)[0], annotations, detections)


@pytest.mark.parametrize("backend", ["compiled", "official"])
def test_no_detections_score_zero_where_there_is_ground_truth(tmp_path, backend):
    truth, _ = federated.generate(0)
    annotations, predictions = federated.write(tmp_path, truth, [])
    scores = score(annotations, predictions, backend=backend)
    record, table = scores.metrics, scores.per_category
    assert {value for iou_type in IOU_TYPES for value in record[iou_type].values()} <= {0.0, None}
    assert record["segm"]["AP"] == 0
    assert (table["AP"].isna() == (table["ground_truths"] == 0)).all()


def test_figures_are_null_without_ground_truth(tmp_path):
    truth, detections = federated.generate(0)
    truth["annotations"] = []
    annotations, predictions = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, predictions)
    assert set(record["segm"].values()) == {None}


def test_ground_truth_scored_against_itself_is_perfect(tmp_path):
    truth, _ = federated.generate(5)
    truth["annotations"] = [entry for entry in truth["annotations"] if entry["area"] > 0]
    size = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    detections = [
        {"image_id": entry["image_id"], "category_id": entry["category_id"], "score": 1.0, "box": entry["bbox"]}
        | {"mask": federated.rle.merge(federated.rle.frPyObjects(entry["segmentation"], *size[entry["image_id"]]))}
        for entry in truth["annotations"]
    ]
    annotations, predictions = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, predictions)
    assert record["segm"]["AP"] == pytest.approx(1, abs=1e-12)
    assert record["bbox"]["AP"] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("backend", ["compiled", "official"])
def test_an_empty_list_of_detections_scores_as_a_parquet_file_without_any(tmp_path, backend):
    truth, _ = federated.generate(0)
    annotations, parquet = federated.write(tmp_path, truth, [])
    (tmp_path / "p.json").write_text("[]")
    for options in ({}, {"overlaps": True}):
        one, other = (
            score(annotations, path, backend=backend, **options)[0] for path in (parquet, tmp_path / "p.json")
        )
        assert one == other
        assert one["segm"]["AP"] == one["bbox"]["AP"] == 0


@pytest.mark.parametrize("backend", ["compiled", "official"])
@pytest.mark.parametrize(("image", "category"), [(20231127110700001, 0), (2**62, 2**53 + 1), (-(2**62), 2**62)])
def test_figures_do_not_depend_on_how_large_ids_are(tmp_path, backend, image, category):
    """Beyond 2**53 float64 holds no whole number and the next one apart."""
    truth, detections = federated.generate(3)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    expected, *_ = score(annotations, predictions, backend=backend)
    for entry in [*truth["annotations"], *detections]:
        entry["image_id"] += image
        entry["category_id"] += category
    for entry in truth["images"]:
        entry["id"] += image
        for name in ("neg_category_ids", "not_exhaustive_category_ids"):
            entry[name] = [each + category for each in entry[name]]
    for entry in truth["categories"]:
        entry["id"] += category
    annotations, predictions = federated.write(tmp_path, truth, detections)
    assert score(annotations, predictions, backend=backend)[0] == expected
    for iou_type in IOU_TYPES:
        (tmp_path / "p.json").write_text(json.dumps(federated.official_records(detections, iou_type)))
        assert score(annotations, tmp_path / "p.json", (iou_type,), backend=backend)[0][iou_type] == expected[iou_type]


@pytest.mark.parametrize("predicted_on", ["these", "others", None])
def test_predictions_that_were_made_for_other_annotations_are_warned_of(tmp_path, recwarn, predicted_on):
    truth, detections = federated.generate(2)
    annotations, _ = federated.write(tmp_path, truth, detections)
    digest = hashlib.sha256(annotations.read_bytes() if predicted_on == "these" else b"another split").hexdigest()
    with PredictionWriter(tmp_path / "p.parquet", predicted_on and {"annotations_sha256": digest}) as writer:
        for one in detections:
            writer.write(one["image_id"], [one["category_id"]], [one["score"]], [one["box"]], [one["mask"]])
    score(annotations, tmp_path / "p.parquet")
    assert ["made for annotations" in str(warning.message) for warning in recwarn] == [True] * (
        predicted_on == "others"
    )


def test_official_json_scores_as_the_parquet_does(tmp_path):
    truth, detections = federated.generate(2)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    record, *_ = score(annotations, predictions)
    for iou_type in IOU_TYPES:
        (tmp_path / "p.json").write_text(json.dumps(federated.official_records(detections, iou_type)))
        assert score(annotations, tmp_path / "p.json", (iou_type,))[0][iou_type] == record[iou_type]


@pytest.mark.parametrize("seed", range(4))
def test_where_every_category_is_exhaustively_annotated_figures_are_those_of_the_coco_api(tmp_path, seed):
    truth, detections = federated.generate(seed, images=20)
    # The COCO API scores what has no area, and LVIS leaves it out
    truth["annotations"] = [entry | {"iscrowd": 0} for entry in truth["annotations"] if entry["area"] > 0]
    detections = [one for one in detections if federated.rle.area(one["mask"]) and one["box"][2]]
    present = {(entry["image_id"], entry["category_id"]) for entry in truth["annotations"]}
    for image in truth["images"]:
        absent = [one["id"] for one in truth["categories"] if (image["id"], one["id"]) not in present]
        image |= {"neg_category_ids": absent, "not_exhaustive_category_ids": []}
    record, *_ = score(*federated.write(tmp_path, truth, detections))
    for iou_type in IOU_TYPES:
        expected = coco_figures(truth, federated.official_records(detections, iou_type), iou_type)
        assert {name: record[iou_type][name] for name in expected} == expected


def coco_figures(truth, records, iou_type):
    """The COCO API's figures of all, and of small, medium and large objects."""
    data = COCO()
    data.dataset = copy.deepcopy(truth)
    data.createIndex()
    evaluation = COCOeval(data, data.loadRes(copy.deepcopy(records)), iou_type)
    evaluation.params.maxDets = [300]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]
    chosen = {"AP": precision[..., 0], "AP50": precision[0, ..., 0], "AP75": precision[5, ..., 0]}
    chosen |= {f"AP{size}": precision[..., area] for area, size in enumerate("sml", start=1)}
    return {name: float(v[v > -1].mean()) if (v > -1).any() else None for name, v in chosen.items()}


def test_category_table_holds_the_means_behind_the_figures(tmp_path):
    truth, detections = federated.generate(4)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    scores = score(annotations, predictions)
    record, table = scores.metrics, scores.per_category
    for iou_type, rows in table.groupby("iou_type"):
        assert rows["category_id"].is_monotonic_increasing
        assert rows["AP"].mean() == pytest.approx(record[iou_type]["AP"], abs=1e-12)
        assert rows["AP50"].mean() == pytest.approx(record[iou_type]["AP50"], abs=1e-12)
        for group in "rcf":
            assert rows[rows["frequency"] == group]["AP"].mean() == pytest.approx(
                record[iou_type][f"AP{group}"], abs=1e-12
            )
    columns = ["category_id", "name", "frequency", "image_count"]
    expected = sorted((one["id"], one["name"], one["frequency"], one["image_count"]) for one in truth["categories"])
    assert table[table["iou_type"] == "segm"][columns].to_numpy().tolist() == [list(row) for row in expected]


def test_protocol_accounts_for_every_detection(tmp_path):
    truth, detections = federated.generate(6, images=4, crowded=400)
    annotations, predictions = federated.write(tmp_path, truth, detections)
    protocol = score(annotations, predictions)[0]["protocol"]
    assert (protocol["images"], protocol["categories"]) == (4, federated.CATEGORIES)
    assert protocol["ground_truths"] == sum(entry["area"] > 0 for entry in truth["annotations"])
    crowded = statistics.mode(one["image_id"] for one in detections)
    crowd = [one for one in detections if one["image_id"] == crowded]
    assert protocol["detections"]["read"] == len(detections)
    assert protocol["detections"]["over_the_cap"] == len(crowd) - 300
    positive = {(entry["image_id"], entry["category_id"]) for entry in truth["annotations"] if entry["area"] > 0}
    listed = positive | {(image["id"], category) for image in truth["images"] for category in image["neg_category_ids"]}
    kept = [one for one in detections if one not in crowd] + sorted(crowd, key=lambda one: -one["score"])[:300]
    outside = sum((one["image_id"], one["category_id"]) not in listed for one in kept)
    assert protocol["detections"]["not_judged"] == outside


def test_detections_of_unknown_categories_are_counted_and_dropped_as_the_official_api_does(tmp_path):
    truth, detections = federated.generate(0)
    for one in detections[::4]:
        one["category_id"] = 9999
    annotations, predictions = federated.write(tmp_path, truth, detections)
    with pytest.warns(UserWarning, match="categories are not in the annotations, first 9999"):
        record, *_ = score(annotations, predictions)
    assert record["protocol"]["detections"]["unknown_category"] == len(detections[::4])
    assert_official(record, annotations, detections)


def refused(tmp_path, truth, detections, message, **options):
    annotations, predictions = federated.write(tmp_path, truth, detections)
    with pytest.raises(ValueError, match=message):
        score(annotations, predictions, **options)


def test_unknown_images_are_refused(tmp_path):
    truth, detections = federated.generate(0)
    detections[3]["image_id"] = 1
    refused(tmp_path, truth, detections, "found 1 in others, first in image 1")


def test_masks_that_are_not_of_the_images_size_are_refused(tmp_path):
    truth, detections = federated.generate(0)
    detections[3]["mask"]["size"] = [5, 5]
    refused(tmp_path, truth, detections, f"another size, first in image {detections[3]['image_id']}")


@pytest.mark.parametrize("key", ["neg_category_ids", "not_exhaustive_category_ids", "height"])
def test_missing_fields_of_images_are_refused(tmp_path, key):
    truth, detections = federated.generate(0)
    del truth["images"][2][key]
    refused(tmp_path, truth, detections, f"`{key}` in every entry of `images`")


@pytest.mark.parametrize("frequency", [None, "x"])
def test_missing_and_unknown_frequencies_are_refused(tmp_path, frequency):
    truth, detections = federated.generate(0)
    truth["categories"][2]["frequency"] = frequency
    refused(tmp_path, truth, detections, "r, c or f as `frequency`")
    del truth["categories"][2]["frequency"]
    refused(tmp_path, truth, detections, "`frequency` in every entry of `categories`")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 0}, "from 1"),
        ({"id": 2}, "repeated"),
        ({"image_id": 1}, "known image and category"),
        ({"category_id": 1}, "known image and category"),
        ({"ignore": 1}, "`ignore`"),
        ({"segmentation": []}, "at least three points"),
        ({"segmentation": [[]]}, "at least three points"),
        ({"segmentation": [[1, 2, 3, 4]]}, "at least three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, None]]}, "lists of finite numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, "six"]]}, "lists of finite numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6], 7]}, "lists of finite numbers"),
        ({"segmentation": {"size": [-1, 5], "counts": "x"}}, "another form .*segmentation.size"),
        ({"segmentation": {"size": [5, 5], "counts": [20, -5]}}, "another form .*segmentation.counts"),
    ],
)
def test_annotations_that_evaluators_read_differently_are_refused(tmp_path, change, message):
    truth, detections = federated.generate(0)
    truth["annotations"][0] |= change
    refused(tmp_path, truth, detections, message)


def test_other_files_are_refused_as_annotations(tmp_path):
    _, predictions = federated.write(tmp_path, *federated.generate(0))
    for content in ("[]", "{}", "", "{", "3", "null"):
        (tmp_path / "truth.json").write_text(content)
        with pytest.raises(ValueError, match="expected LVIS v1 annotations"):
            score(tmp_path / "truth.json", predictions)


def test_missing_shapes_and_unknown_options_are_refused(tmp_path):
    truth, detections = federated.generate(0)
    annotations, parquet = federated.write(tmp_path, truth, detections)
    predictions = tmp_path / "p.json"
    for present, absent in (IOU_TYPES, IOU_TYPES[::-1]):
        predictions.write_text(json.dumps(federated.official_records(detections, present)))
        with pytest.raises(
            ValueError, match=f"expected .* found detections without .* use `--iou-type {present}` alone"
        ):
            score(annotations, predictions, (absent,))
    with pytest.raises(ValueError, match="expected IoU types"):
        score(annotations, parquet, ("keypoints",))
    with pytest.raises(ValueError, match="a backend out of"):
        score(annotations, parquet, backend="other")
