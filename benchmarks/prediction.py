"""Turning what the mask head says into run lengths, against mmdet's pasting and pycocotools' encoding of whole images.

And what the mask head of `mini` takes on a CPU in the two memory formats, and the last layers of LVIS's mask head for
all classes and for each object's own.

    python benchmarks/prediction.py
    python benchmarks/prediction.py --side 200 --repeats 9

One image, one thread, seconds of CPU time, the least of the repeats; boxes have the given mean side. The RLEs must be
the same bytes. The last line is a JSON record.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from scipy.ndimage import gaussian_filter

from gumbel.detection.masks import encode, keep_unpasted

THRESHOLD = 0.5


def objects(number: int, side: float, height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 28, 28) of smooth blobs, and boxes (n, 4) inside the image."""
    rng = np.random.default_rng(seed)
    logits = 20 * gaussian_filter(rng.standard_normal((number, 28, 28)), (0, 3, 3)) - 0.5
    middle, extent = rng.uniform(0, 1, (number, 2)) * [width, height], rng.gamma(2, side / 2, (number, 2))
    boxes = np.clip(np.concatenate([middle - extent / 2, middle + extent / 2], 1), 0, [width, height] * 2)
    return logits.astype(np.float32), boxes.astype(np.float32)


def whole_images(logits: np.ndarray, boxes: np.ndarray, height: int, width: int) -> list[dict[str, Any]]:
    """As the prediction stage did: mmdet pastes, the masks are turned, copied and encoded."""
    head = FCNMaskHead(num_convs=0, num_classes=1, class_agnostic=True)
    meta = {"scale_factor": (1.0, 1.0), "ori_shape": (height, width)}
    masks = head._predict_by_feat_single(
        torch.from_numpy(logits)[:, None],
        torch.from_numpy(boxes.copy()),
        torch.zeros(len(boxes), dtype=torch.long),
        meta,
        ConfigDict(mask_thr_binary=THRESHOLD),
        rescale=True,
    )
    return coco_mask.encode(np.asfortranarray(masks.numpy().transpose(1, 2, 0).astype(np.uint8)))


def inside_boxes(logits: np.ndarray, boxes: np.ndarray, height: int, width: int) -> list[dict[str, Any]]:
    return encode(torch.from_numpy(logits).sigmoid().numpy(), boxes, height, width, THRESHOLD)


def mask_heads(detections: int, seed: int) -> list[Callable[[], torch.Tensor]]:
    """A mask head of `mini`'s width on the RoIs of one image, as PyTorch lays it out and channels-last."""
    torch.manual_seed(seed)
    heads = [FCNMaskHead(num_convs=2, in_channels=32, conv_out_channels=32, num_classes=24).eval() for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    heads[1].to(memory_format=torch.channels_last)
    rois = torch.randn(detections, 32, 14, 14)
    return [lambda head=head: head(rois) for head in heads]  # type: ignore[misc]


class RoIHead(torch.nn.Module):
    """One that has pooled its features already."""

    def __init__(self, mask_head: FCNMaskHead) -> None:
        super().__init__()
        self.mask_head = mask_head

    def predict_mask(self, x: torch.Tensor, results_list: list[InstanceData]) -> torch.Tensor:
        return self.mask_head(x)  # type: ignore[no-any-return]

    def mask_loss(self, x: torch.Tensor, sampling_results: list[Any]) -> torch.Tensor:
        return self.mask_head(x)  # type: ignore[no-any-return]


def last_layers(detections: int, classes: int, seed: int) -> list[Callable[[], torch.Tensor]]:
    """Logits (n, h, w) of each object's class, out of those of all classes and asked for."""
    torch.manual_seed(seed)
    heads = [RoIHead(FCNMaskHead(num_convs=0, num_classes=classes).eval()) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    keep_unpasted(torch.nn.ModuleDict({"roi_head": heads[1]}))
    rois, labels = torch.randn(detections, 256, 14, 14), torch.randint(classes, (detections,))
    found = [InstanceData(labels=labels)]
    return [
        lambda: heads[0].predict_mask(rois, found)[range(detections), labels],
        lambda: heads[1].predict_mask(rois, results_list=found)[:, 0],
    ]


def least(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of CPU time, and what came out."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = run()
        times.append(time.process_time() - start)
    return min(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=300)
    parser.add_argument("--side", type=float, default=100.0, help="mean side of the boxes in pixels")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], help="width and height of the image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, height = options.size
    arguments = (*objects(options.masks, options.side, height, width, options.seed), height, width)
    inside_boxes(*arguments)  # compiled now
    with torch.inference_mode():
        whole, before = least(lambda: whole_images(*arguments), options.repeats)
        inside, after = least(lambda: inside_boxes(*arguments), options.repeats)
    assert before == after, "expected the same RLEs, found others"
    ratio = whole / inside
    print(f"whole images {whole:.4f} s, inside the boxes {inside:.4f} s: {ratio:.1f} times")
    with torch.inference_mode():
        (plain, one), (last, other) = (least(head, options.repeats) for head in mask_heads(80, options.seed))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    print(f"mask head of 80 detections {plain:.4f} s, channels-last {last:.4f} s: {plain / last:.1f} times")
    with torch.inference_mode():
        (every, one), (own, other) = (
            least(run, options.repeats) for run in last_layers(options.masks, 1203, options.seed)
        )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    print(f"last mask layers, all classes {every:.4f} s, each object's {own:.4f} s: {every / own:.1f} times")
    found = {"whole_s": whole, "inside_s": inside, "ratio": ratio, "plain_s": plain, "channels_last_s": last}
    found |= {"every_class_s": every, "own_class_s": own}
    print(json.dumps({**vars(options), **found}))


if __name__ == "__main__":
    main()
