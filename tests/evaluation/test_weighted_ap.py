"""AP under image weights against the official API on data sets with those images."""

import copy

import numpy as np
import pytest

from gumbel.evaluation.bootstrap import bootstrap_weights, jackknife_weights
from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.weighted_ap import LEVELS, _reach, weighted_figures
from tests.evaluation import federated

METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300"]


def undefined_as_nan(value):
    return np.nan if value is None else value


def distinct_scores(detections):
    """Scores without ties: duplicated images leave the order of ties open."""
    rng = np.random.default_rng(0)
    return [one | {"score": float(score)} for one, score in zip(detections, rng.random(len(detections)), strict=True)]


def resample(truth, detections, weights):
    """The data set in which each image, in the order of ids, stands as often as its weight says."""
    images, annotations, found = [], [], []
    for image, weight in zip(sorted(truth["images"], key=lambda image: image["id"]), weights, strict=True):
        for copy_number in range(weight):
            new = image["id"] * 100 + copy_number
            images.append(image | {"id": new})
            annotations += [a | {"image_id": new} for a in truth["annotations"] if a["image_id"] == image["id"]]
            found += [one | {"image_id": new} for one in detections if one["image_id"] == image["id"]]
    annotations = [annotation | {"id": number} for number, annotation in enumerate(annotations, start=1)]
    return copy.deepcopy(truth) | {"images": images, "annotations": annotations}, found


@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(4))
def test_unit_weights_give_the_figures_themselves(tmp_path, seed, iou_type):
    truth, detections = federated.generate(seed, images=12, crowded=400 * (seed == 3))
    annotations, predictions = federated.write(tmp_path, truth, detections)
    expected = score(annotations, predictions, (iou_type,))[0][iou_type]
    figures = weighted_figures(federated.match(annotations, predictions, iou_type), np.ones((1, 12)))
    assert sorted(figures) == sorted(METRICS)
    for name, value in figures.items():
        assert value[0] == pytest.approx(undefined_as_nan(expected[name]), abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("seed", range(3))
def test_weights_give_the_official_figures_of_resampled_images(tmp_path, seed):
    truth, detections = federated.generate(seed, images=12)
    detections = distinct_scores(detections)
    weights = np.concatenate([bootstrap_weights(12, 3, seed), jackknife_weights(12, seed)[:1]])
    matches = federated.match(*federated.write(tmp_path, truth, detections), "segm")
    figures = weighted_figures(matches, weights)
    for number, row in enumerate(weights.tolist()):
        resampled, found = resample(truth, detections, row)
        annotations, _ = federated.write(tmp_path, resampled, [])
        expected = federated.official(annotations, found, "segm")
        for name, values in figures.items():
            assert values[number] == pytest.approx(undefined_as_nan(expected[name]), abs=1e-9, nan_ok=True), name


def test_recall_levels_are_those_that_a_search_finds():
    objects = np.concatenate([np.full(n + 1, float(n)) for n in range(1, 400)])
    found = np.concatenate([np.arange(n + 1.0) for n in range(1, 400)])
    levels = np.empty(len(found))
    _reach(found, objects, levels)
    assert np.array_equal(levels, np.searchsorted(np.linspace(0, 1, LEVELS), found / objects, side="right"))
