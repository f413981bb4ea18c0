"""COCO's run lengths of masks, without the masks: inside each box, straight from what the mask head says.

mmdet lets a mask head say where an object would be if it were of each of the classes, and takes the class that it is
of: for 300 objects of LVIS, that is 1.1 GB a stage. Here the head's last layer is asked for the object's own class.

mmdet pastes the probabilities of a mask head into an image a mask, which is then encoded: for 300 objects it writes and
reads the image 300 times. Here the runs are followed down the columns of the box. Between two rows of the head's output
the probability is linear, so a whole cell is above the threshold, below it, or looked at pixel by pixel.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch import Tensor

from gumbel.detection.parts import mask_heads
from gumbel.evaluation.compiled import compiled

#: What this near to the threshold is left to PyTorch, whose rounding depends on the processor: positions of up to 64
#: in single precision are known to 4e-6, and probabilities change by less than 1 from one to the next.
_DOUBT = 3e-5


def keep_unpasted(model: Any) -> None:
    """Let the mask heads of ``model`` predict ``masks`` (n, h, w): probabilities inside the boxes, not pasted.

    They compute those of the class that each object is of. The ``bboxes`` beside them are in pixels of the original
    image, as ever.

    Raises:
        TypeError: a mask head that does not paste as mmdet's own.
    """
    ask_own_classes(model)
    for head in mask_heads(model):
        head._predict_by_feat_single = _unpasted.__get__(head)


def ask_own_classes(model: Any) -> None:
    """Let the mask heads of ``model`` compute, for loss and prediction, the logits of each object's own class alone.

    Raises:
        TypeError: a mask head that is not mmdet's own.
    """
    own = _OwnClass()
    roi_head = model.roi_head
    roi_head.predict_mask = own.noting(roi_head.predict_mask, "results_list", "labels")
    roi_head.mask_loss = own.noting(roi_head.mask_loss, "sampling_results", "pos_gt_labels")
    for head in mask_heads(model):
        if not isinstance(head, FCNMaskHead):
            raise TypeError(f"expected mask heads that are mmdet's FCNMaskHead, found {type(head).__name__}")
        if head.conv_logits.out_channels > 1:
            head.conv_logits._conv_forward = own.logits
        head.class_agnostic = True  # mmdet then takes the only logits that there are


class _OwnClass:
    """The last layer of mask heads, and the labels that it is to look at."""

    labels: Tensor

    def noting(self, call: Callable[..., Any], argument: str, labels: str) -> Callable[..., Any]:
        """``call`` of a roi head, that notes the ``labels`` of the images in one ``argument`` first."""
        signature = inspect.signature(call)

        def noted(*values: Any, **named: Any) -> Any:
            images = signature.bind(*values, **named).arguments[argument]
            self.labels = torch.cat([getattr(image, labels) for image in images])
            return call(*values, **named)

        return noted

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """A convolution with kernels of one pixel, (n, C, h, w) to (n, 1, h, w): each object's with that of its class.

        ``weight`` (classes, C, 1, 1), ``bias`` (classes,).
        """
        weight, bias = weight[self.labels].flatten(1), bias[self.labels]
        chosen = torch.baddbmm(bias[:, None, None], weight[:, None], features.flatten(2))
        return chosen.reshape(len(features), 1, *features.shape[2:])


def _unpasted(
    head: FCNMaskHead,
    mask_preds: Tensor,
    bboxes: Tensor,
    labels: Tensor,
    img_meta: dict[str, Any],
    rcnn_test_cfg: Any,
    rescale: bool = False,
    activate_map: bool = False,
) -> Tensor:
    """What ``FCNMaskHead._predict_by_feat_single`` pastes, and the boxes in place that it pastes it into."""
    assert rescale, "expected boxes of the original image: nothing else is predicted here"
    bboxes /= bboxes.new_tensor(img_meta["scale_factor"]).repeat((1, 2))
    chosen = mask_preds[:, 0]  # the only one
    return chosen if activate_map else chosen.sigmoid()


def encode(
    probabilities: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float
) -> list[dict[str, Any]]:
    """Compressed RLEs of masks pasted as mmdet pastes them on a CPU, byte for byte those of ``pycocotools``.

    Args:
        probabilities: (n, h, w) float32, inside the boxes.
        boxes: (n, 4) float32, x1, y1, x2, y2 in pixels.
        height, width: of the image, in pixels.
        threshold: a pixel belongs to the mask from this probability on.

    Returns:
        n dicts ``{"size": [height, width], "counts": bytes}``.
    """
    probabilities, boxes = np.ascontiguousarray(probabilities), np.ascontiguousarray(boxes)
    if len(boxes) == 0:
        return []
    # The regions that mmdet pastes into: x, y of the first pixel and of the one behind the last
    first = np.maximum(np.floor(boxes[:, :2]) - 1, 0).astype(np.int64)
    last = np.minimum(np.ceil(boxes[:, 2:]) + 1, [width, height]).astype(np.int64)
    regions = np.concatenate([first, np.maximum(last, first)], axis=1)
    largest = int((regions[:, 2:] - regions[:, :2]).prod(axis=1).max())
    runs, doubtful = np.empty(largest + 3, np.int64), np.empty(largest, np.int64)
    nothing = np.empty(0, np.bool_)

    found: list[bytes] = []
    doubts: list[tuple[int, np.ndarray]] = []
    for index, (mask, box, region) in enumerate(zip(probabilities, boxes, regions, strict=True)):
        number, unsure = _follow(mask, box, region, height, width, threshold, nothing, runs, doubtful)
        found.append(_text(runs[:number]))
        if unsure:
            doubts.append((index, doubtful[:unsure].copy()))
    if doubts:
        decided = _as_pytorch_decides(probabilities, boxes, height, threshold, doubts)
        for (index, places), decisions in zip(doubts, decided, strict=True):
            if (decisions != places % 2).any():
                arguments = probabilities[index], boxes[index], regions[index], height, width, threshold
                number, _ = _follow(*arguments, decisions, runs, doubtful)
                found[index] = _text(runs[:number])
    return [{"size": [height, width], "counts": counts} for counts in found]


def _as_pytorch_decides(
    probabilities: np.ndarray,
    boxes: np.ndarray,
    height: int,
    threshold: float,
    doubts: Sequence[tuple[int, np.ndarray]],
) -> list[np.ndarray]:
    """Whether each doubtful pixel of each mask is in it, in mmdet's own arithmetic: single precision, and its order."""
    chosen = [index for index, _ in doubts]
    lengths = [len(places) for _, places in doubts]
    x1, y1, x2, y2 = torch.from_numpy(boxes[chosen])[:, None].unbind(-1)  # (masks, 1) each
    places = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(each // 2) for _, each in doubts], batch_first=True)
    x = ((places // height).float() + 0.5 - x1) / (x2 - x1) * 2 - 1
    y = ((places % height).float() + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack([x, y], dim=-1)[:, None]
    grid[torch.isinf(grid)] = 0
    masks = torch.from_numpy(probabilities[chosen])[:, None]
    values = torch.nn.functional.grid_sample(masks, grid, align_corners=False)[:, 0, 0]
    return [row[:length].numpy() >= threshold for row, length in zip(values, lengths, strict=True)]


def _text(runs: np.ndarray) -> bytes:
    text = np.empty(7 * len(runs), np.uint8)  # 31 bits, five a character
    return text[: _compress(runs, text)].tobytes()


@compiled
def _follow(mask, box, region, height, width, threshold, decided, runs, doubtful):  # type: ignore[no-untyped-def]
    """Write the lengths of the runs, from zeros on, down one column after the other; return how many there are.

    Pixels that rounding decides go to ``doubtful``, and their number is returned too: twice the place in the image,
    down the columns, and 1 more for those inside. Where ``decided`` says so, they are what it says.
    """
    rows, columns = mask.shape
    left, top, right, bottom = float(box[0]), float(box[1]), float(box[2]), float(box[3])
    from_x, from_y, to_x, to_y = region
    flat = not (right > left and bottom > top)  # PyTorch alone knows where such a box has its pixels
    step_x, step_y = (1.0, 1.0) if flat else (columns / (right - left), rows / (bottom - top))

    # Of every row of pixels, the row of the mask above it and how far it is below that; and where this row changes
    above = np.empty(to_y - from_y, np.int64)
    below = np.empty(to_y - from_y)
    ends = np.empty(to_y - from_y, np.int64)
    for y in range(to_y - from_y - 1, -1, -1):
        place = (from_y + y + 0.5 - top) * step_y - 0.5
        row = int(np.floor(place))
        below[y] = place - row
        above[y] = min(max(row, -2), rows) + 2
        same = y + 1 < to_y - from_y and above[y + 1] == above[y]
        ends[y] = ends[y + 1] if same else y + 1

    # The mask's columns one after the other, between zeros; so each blend of two columns is of lines of memory
    padded = np.zeros((columns + 4, rows + 4))
    padded[2:-2, 2:-2] = mask.T
    blended = np.empty(rows + 4)
    number, unsure, start, inside = 0, 0, 0, False
    for x in range(from_x, to_x):
        place = (x + 0.5 - left) * step_x - 0.5
        column = int(np.floor(place))
        share = place - column
        column = min(max(column, -2), columns) + 2
        before, behind = padded[column], padded[column + 1]
        for row in range(rows + 4):
            blended[row] = before[row] + (behind[row] - before[row]) * share
        y = 0
        while y < to_y - from_y:
            low, high, end = blended[above[y]], blended[above[y] + 1], ends[y]
            whole_in = low >= threshold + _DOUBT and high >= threshold + _DOUBT
            whole_out = low < threshold - _DOUBT and high < threshold - _DOUBT
            if flat or not (whole_in or whole_out):
                end = y + 1
                value = low + (high - low) * below[y]
                now = value >= threshold
                if flat or not (value >= threshold + _DOUBT or value < threshold - _DOUBT):
                    if unsure < len(decided):
                        now = decided[unsure]
                    doubtful[unsure] = 2 * (x * height + from_y + y) + now
                    unsure += 1
            else:
                now = whole_in
            if now != inside:
                here = x * height + from_y + y
                runs[number] = here - start
                number, start, inside = number + 1, here, now
            y = end
        here = x * height + to_y
        if inside and (to_y < height or from_y > 0 or x == to_x - 1) and here < height * width:
            runs[number] = here - start
            number, start, inside = number + 1, here, False
    runs[number] = height * width - start
    return number + 1, unsure


@compiled
def _compress(runs, text):  # type: ignore[no-untyped-def]
    """COCO's text of run lengths: differences to the run before the last, five bits a character; return its length."""
    length = 0
    for index in range(len(runs)):
        left = runs[index] - (runs[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = left & 0x1F
            left >>= 5
            more = left != (-1 if bits & 0x10 else 0)
            text[length] = 48 + (bits | 0x20 if more else bits)
            length += 1
    return length
