"""Pictures: which are shown, what is drawn, what counts as right."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gumbel.report.drawing import samples
from gumbel.report.drawing.samples import draw_samples, rarest_first
from tests.report import fixtures


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[samples.Sample]:
    root = tmp_path_factory.mktemp("samples")
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(root, experiment)
    data = root / experiment.data_root
    paths = {"gumbel": root / "results/fake/mask_rcnn_r50/gumbel/seed0/predictions/val/matched.parquet"}
    return draw_samples(data / "val.json", data / "images", paths, chosen=[3, 1, 2], failures=0)


def test_the_chosen_images_come_in_their_order(drawn: list[samples.Sample]) -> None:
    assert [sample.image_id for sample in drawn] == [3, 1, 2]


def test_images_of_the_rarest_categories_come_first_and_categories_take_turns() -> None:
    categories = {1: {"image_count": 500}, 2: {"image_count": 3}, 3: {"image_count": 40}}
    objects = {10: [1], 11: [1, 2], 12: [2], 13: [3]}
    boxes = {image: [{"category_id": category} for category in present] for image, present in objects.items()}
    assert rarest_first(boxes, categories) == [11, 13, 10, 12]


def test_each_panel_shows_as_many_detections_as_there_are_objects_best_first(drawn: list[samples.Sample]) -> None:
    for sample in drawn:
        truth, gumbel = sample.panels
        assert len(gumbel.items) == len(truth.items)
        scores = [item.score for item in gumbel.items if item.score is not None]
        assert scores == sorted(scores, reverse=True)


def test_ground_truth_is_right_about_itself(drawn: list[samples.Sample]) -> None:
    assert all(item.right for sample in drawn for item in sample.panels[0].items)


def test_a_category_keeps_its_colour_and_absent_ones_share_black(drawn: list[samples.Sample]) -> None:
    for sample in drawn:
        truth, gumbel = sample.panels
        colours = {item.name: item.colour for item in truth.items}
        assert all(item.colour == colours.get(item.name, "#141414") for item in gumbel.items)
        assert "#141414" not in colours.values()


def test_panels_are_webp_pictures_of_the_same_size(drawn: list[samples.Sample]) -> None:
    import base64

    for panel in drawn[0].panels:
        kind, _, data = panel.uri.partition(",")
        assert kind == "data:image/webp;base64"
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (320, 320, 3)


def test_an_object_is_taken_once_and_only_by_its_category() -> None:
    block = np.zeros((20, 20), np.uint8, order="F")
    block[2:12, 2:12] = 1
    shifted = np.asfortranarray(np.roll(block, 8, axis=1))
    truth = [samples._Object(1, coco_mask.encode(block))]
    found = [
        samples._Object(2, coco_mask.encode(block)),
        samples._Object(1, coco_mask.encode(shifted)),
        samples._Object(1, coco_mask.encode(block)),
        samples._Object(1, coco_mask.encode(block)),
    ]
    assert samples._matched(found, truth) == [False, False, True, False]


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment, categories=9)
    data = tmp_path / experiment.data_root
    with pytest.raises(FileNotFoundError, match="elsewhere/val/"):
        draw_samples(data / "val.json", tmp_path / "elsewhere", {}, chosen=[1])


def test_the_worst_failures_are_the_images_with_the_smallest_share_found(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment)
    data = tmp_path / experiment.data_root
    cell = tmp_path / "results/fake/mask_rcnn_r50"
    paths = {name: cell / name / "seed0/predictions/val/matched.parquet" for name in ("softmax", "gumbel")}
    drawn = draw_samples(data / "val.json", data / "images", paths, chosen=[5, 2], failures=6)
    assert [sample.failure for sample in drawn] == [False] * 2 + [True] * 6
    assert [sample.image_id for sample in drawn[:2]] == [5, 2]
    assert len({sample.image_id for sample in drawn}) == 8
    shares = [sum(item.right for panel in sample.panels[1:] for item in panel.items) for sample in drawn[2:]]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]
