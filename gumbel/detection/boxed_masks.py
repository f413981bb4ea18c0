"""Ground-truth masks that are kept inside their boxes from the file to the loss.

mmdet draws each object into a bitmap of the image, and then resizes, flips, sends to the training process and pads all
of these. Here only the box of an object goes that way: equal bitmaps are made where the loss asks for them.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmcv.ops import roi_align
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_mask
from torch import Tensor


class BoxedMasks(BitmapMasks):
    """mmdet's ``BitmapMasks`` of (height, width), from crops and where they lie.

    Args:
        crops: bitmaps of the objects' boxes, uint8.
        corners: row and column of each crop's first pixel.
    """

    def __init__(self, crops: Sequence[np.ndarray], corners: np.ndarray, height: int, width: int) -> None:
        self.crops = crops
        self.corners = np.asarray(corners, int).reshape(-1, 2)
        self.height, self.width = height, width

    @cached_property
    def masks(self) -> np.ndarray:
        """The bitmaps (n, height, width), for all that is not done inside the boxes."""
        masks = np.zeros((len(self), self.height, self.width), np.uint8)
        for mask, crop, (top, left) in zip(masks, self.crops, self.corners, strict=True):
            mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        return masks

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: Any) -> "BoxedMasks":
        chosen = np.atleast_1d(np.arange(len(self))[index])
        return BoxedMasks([self.crops[i] for i in chosen], self.corners[chosen], self.height, self.width)

    def rescale(self, scale: float | tuple[int, int], interpolation: str = "nearest") -> BitmapMasks:
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width), interpolation)

    def resize(self, out_shape: tuple[int, int], interpolation: str = "nearest") -> BitmapMasks:
        if interpolation != "nearest":
            return super().resize(out_shape, interpolation)
        rows, columns = _nearest(self.height, out_shape[0]), _nearest(self.width, out_shape[1])
        crops, corners = [], np.empty_like(self.corners)
        for i, (crop, (top, left)) in enumerate(zip(self.crops, self.corners, strict=True)):
            (first_row, last_row), (first_column, last_column) = (
                np.searchsorted(source, [start, start + size])
                for source, start, size in ((rows, top, crop.shape[0]), (columns, left, crop.shape[1]))
            )
            crops.append(crop[rows[first_row:last_row] - top][:, columns[first_column:last_column] - left])
            corners[i] = first_row, first_column
        return BoxedMasks(crops, corners, *out_shape)

    def flip(self, flip_direction: str = "horizontal") -> BitmapMasks:
        if flip_direction != "horizontal":
            return super().flip(flip_direction)
        corners = self.corners.copy()
        corners[:, 1] = [self.width - left - crop.shape[1] for crop, (_, left) in zip(self.crops, corners, strict=True)]
        return BoxedMasks([crop[:, ::-1] for crop in self.crops], corners, self.height, self.width)

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> BitmapMasks:
        if pad_val != 0:
            return super().pad(out_shape, pad_val)
        return BoxedMasks(self.crops, self.corners, *out_shape)

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | Tensor,
        device: str | torch.device = "cpu",
        interpolation: str = "bilinear",
        binarize: bool = True,
    ) -> BitmapMasks:
        """mmdet's, with a bitmap on ``device`` of each object of ``inds``, not of each box; only crops go there."""
        if len(self) == 0 or len(bboxes) == 0:
            return super().crop_and_resize(bboxes, out_shape, inds, device, interpolation, binarize)
        boxes = torch.as_tensor(bboxes, device=device)
        objects, places = torch.as_tensor(inds, device=device).unique(return_inverse=True)
        taken = self[objects.cpu().numpy()]
        sent = torch.from_numpy(np.concatenate([crop.ravel() for crop in taken.crops])).to(device)
        bitmaps = boxes.new_zeros(len(taken), 1, self.height, self.width)
        parts = sent.split([crop.size for crop in taken.crops])
        for bitmap, part, crop, (top, left) in zip(bitmaps, parts, taken.crops, taken.corners.tolist(), strict=True):
            down, across = crop.shape
            bitmap[0, top : top + down, left : left + across] = part.view(down, across)
        rois = torch.cat([places[:, None].to(boxes), boxes], 1)
        targets = roi_align(bitmaps, rois, out_shape, 1.0, 0, "avg", True).squeeze(1)
        return BitmapMasks((targets >= 0.5 if binarize else targets).cpu().numpy(), *out_shape)


def _nearest(size: int, new_size: int) -> np.ndarray:
    """Which of ``size`` pixels OpenCV takes for each of ``new_size``, asked of OpenCV itself."""
    pixels = np.arange(size, dtype=np.float32)[None]
    return cv2.resize(pixels, (new_size, 1), interpolation=cv2.INTER_NEAREST)[0].astype(int)


@TRANSFORMS.register_module()
class LoadBoxedAnnotations(LoadAnnotations):
    """mmdet's ``LoadAnnotations`` with :class:`BoxedMasks` for bitmaps."""

    def _load_masks(self, results: dict[str, Any]) -> None:
        if not self.poly2mask:
            super()._load_masks(results)
            return
        height, width = results["ori_shape"]
        crops, corners = [], []
        for mask in self._process_masks(results):
            if isinstance(mask, list):
                rle = coco_mask.merge(coco_mask.frPyObjects(mask, height, width))
            else:
                rle = coco_mask.frPyObjects(mask, height, width) if isinstance(mask["counts"], list) else mask
            left, top, across, down = coco_mask.toBbox(rle).astype(int)
            crops.append(np.ascontiguousarray(coco_mask.decode(rle)[top : top + down, left : left + across]))
            corners.append((top, left))
        results["gt_masks"] = BoxedMasks(crops, np.array(corners), height, width)
