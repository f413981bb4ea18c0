"""Masks encoded inside their boxes, against mmdet's pasting and pycocotools' encoding of the whole image."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models.layers.normed_predictor import NormedConv2d
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from scipy.ndimage import gaussian_filter

from gumbel.detection.masks import encode, keep_unpasted

THRESHOLD = 0.5


def pasted(probabilities: np.ndarray, boxes: np.ndarray, height: int, width: int) -> list[dict]:
    """As mmdet pastes on a CPU, mask by mask, and the whole images encoded."""
    images = np.zeros((height, width, len(boxes)), np.uint8, order="F")
    for index in range(len(boxes)):
        one = slice(index, index + 1)
        mask, place = _do_paste_mask(
            torch.from_numpy(probabilities[one, None]), torch.from_numpy(boxes[one]), height, width, skip_empty=True
        )
        images[(*place, index)] = mask[0] >= THRESHOLD
    return coco_mask.encode(images)


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 1 / (1 + np.exp(-20 * gaussian_filter(rng.standard_normal(shape), (0, 3, 3))))


#: Probabilities (n, h, w) of several kinds, among them what rounding alone decides.
KINDS = {
    "smooth": smooth,
    "noise": lambda rng, shape: rng.random(shape),
    "black and white": lambda rng, shape: rng.integers(0, 2, shape),
    "at the threshold": lambda rng, shape: THRESHOLD + rng.integers(-1, 2, shape) * 6e-8,
    "flat": lambda rng, shape: np.broadcast_to(rng.choice([0, THRESHOLD, 1], (shape[0], 1, 1)), shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole_pixels", [True, False])
def test_run_lengths_are_those_of_the_pasted_image_byte_for_byte(kind, whole_pixels):
    rng = np.random.default_rng(0)
    for side in (14, 28, 56):
        height, width = rng.integers(1, 400, 2).tolist()
        probabilities = KINDS[kind](rng, (20, side, side)).astype(np.float32)
        corners = rng.uniform(-0.2, 1, (20, 2)) * [width, height]
        boxes = np.concatenate([corners, corners + rng.exponential(0.4, (20, 2)) * [width, height]], axis=1)
        boxes = np.maximum(np.round(boxes) if whole_pixels else boxes, [-np.inf, -np.inf, 0, 0]).astype(np.float32)
        assert encode(probabilities, boxes, height, width, THRESHOLD) == pasted(probabilities, boxes, height, width)


BOXES = {
    "the whole image": [0, 0, 40, 30],
    "far beyond the image": [-100, -50, 300, 200],
    "one pixel": [7, 8, 8, 9],
    "less than a pixel": [7.2, 8.3, 7.4, 8.4],
    "one column": [7, 0, 8, 30],
    "one row": [0, 29, 40, 30],
    "the last column": [39, 3, 40, 30],
    "no width": [7, 3, 7, 20],
    "no height": [7, 3, 20, 3],
    "no width, half a pixel in": [7.5, 3, 7.5, 20],
    "upside down": [7, 20, 20, 3],
    "beside the image": [50, 3, 60, 20],
}


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("value", [0.0, 1.0, None])
def test_run_lengths_are_those_of_the_pasted_image_for_unusual_boxes(box, value):
    probabilities = smooth(np.random.default_rng(1), (1, 28, 28)).astype(np.float32)
    if value is not None:
        probabilities[:] = value
    boxes = np.array([BOXES[box]], np.float32)
    found = encode(probabilities, boxes, 30, 40, THRESHOLD)
    if box in ("upside down", "beside the image"):  # mmdet raises
        assert coco_mask.area(found[0]) == 0
    else:
        assert found == pasted(probabilities, boxes, 30, 40)


def test_an_image_without_detections_has_no_masks():
    assert encode(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), 30, 40, THRESHOLD) == []


class RoIHead(torch.nn.Module):
    """One that has pooled its features already."""

    def __init__(self, mask_head: FCNMaskHead) -> None:
        super().__init__()
        self.mask_head = mask_head

    def predict_mask(self, x, results_list):
        return self.mask_head(x)

    def mask_loss(self, x, sampling_results):
        return self.mask_head(x)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("predictor", [torch.nn.Conv2d, NormedConv2d])
def test_mask_heads_are_asked_for_the_class_of_each_object(agnostic, predictor):
    torch.manual_seed(0)
    layers = dict(num_convs=1, in_channels=8, conv_out_channels=8, predictor_cfg=dict(type=predictor))
    head = FCNMaskHead(num_classes=5, class_agnostic=agnostic, **layers).double()
    torch.nn.init.normal_(head.conv_logits.bias)
    features, labels = torch.randn(12, 8, 14, 14, dtype=torch.float64), torch.arange(12) % 5
    every = head(features)
    model = torch.nn.ModuleDict({"roi_head": RoIHead(head)})
    keep_unpasted(model)
    images = [InstanceData(labels=labels[:5]), InstanceData(labels=labels[5:5]), InstanceData(labels=labels[5:])]
    for layout in (torch.contiguous_format, torch.channels_last):
        own = model.roi_head.predict_mask(features.contiguous(memory_format=layout), results_list=images)
        assert own.shape == (12, 1, 28, 28)
        torch.testing.assert_close(own[:, 0], every[:, 0] if agnostic else every[range(12), labels])
    sampled = [SimpleNamespace(pos_gt_labels=labels)]
    torch.testing.assert_close(model.roi_head.mask_loss(features, sampled), own)


@pytest.mark.parametrize("activated", [False, True])
def test_a_head_that_keeps_masks_unpasted_predicts_the_same_ones(activated):
    """Logits, or the means of a cascade's probabilities; in an image that was enlarged before."""
    rng = np.random.default_rng(2)
    head = FCNMaskHead(num_convs=0, class_agnostic=True)
    logits = torch.from_numpy(rng.normal(size=(12, 1, 28, 28)).astype(np.float32))
    boxes = torch.from_numpy(np.sort(rng.uniform(0, 90, (12, 2, 2)), axis=1).reshape(12, 4).astype(np.float32))
    meta = {"scale_factor": (1.5, 1.5), "ori_shape": (60, 61)}
    arguments = torch.arange(12) % 5, meta, ConfigDict(mask_thr_binary=THRESHOLD), True, activated
    predictions = logits.sigmoid() if activated else logits
    expected = head._predict_by_feat_single(predictions, boxes.clone(), *arguments).numpy()

    keep_unpasted(torch.nn.ModuleDict({"roi_head": RoIHead(head)}))
    found = head._predict_by_feat_single(predictions, boxes, *arguments).numpy()
    whole = np.asfortranarray(expected.transpose(1, 2, 0).astype(np.uint8))
    assert encode(found, boxes.numpy(), 60, 61, THRESHOLD) == coco_mask.encode(whole)


def test_a_mask_head_that_pastes_otherwise_is_refused_by_name():
    with pytest.raises(TypeError, match="FCNMaskHead, found Linear"):
        keep_unpasted(torch.nn.ModuleDict({"roi_head": RoIHead(torch.nn.Linear(1, 1))}))


def test_run_lengths_of_any_length_are_written_as_pycocotools_writes_them():
    """Runs of thousands of pixels that grow and shrink: several characters each, of either sign."""
    rng = np.random.default_rng(3)
    probabilities = (rng.random((6, 3, 3)) > 0.5).astype(np.float32)
    boxes = np.tile(np.array([0, 0, 2500, 1800], np.float32), (6, 1))
    found = encode(probabilities, boxes, 1800, 2500, THRESHOLD)
    assert found == pasted(probabilities, boxes, 1800, 2500)
