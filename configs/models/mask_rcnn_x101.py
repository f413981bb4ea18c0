"""Mask R-CNN, ResNeXt-101 64x4d, FPN."""

_base_ = "./mask_rcnn_r50.py"

architecture = dict(
    label="M-X101",
    detector="Mask R-CNN, ResNeXt-101",
    backbone="resnext101_64x4d-ee2c6f71",
    hours=112,
    memory_gb=28,
)

model = dict(
    backbone=dict(
        type="ResNeXt",
        depth=101,
        groups=64,
        base_width=4,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnext101_64x4d"),
    ),
)
