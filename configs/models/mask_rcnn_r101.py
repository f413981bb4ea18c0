"""Mask R-CNN, ResNet-101, FPN."""

_base_ = "./mask_rcnn_r50.py"

architecture = dict(
    label="M-R101",
    detector="Mask R-CNN, ResNet-101",
    backbone="resnet101-63fe2227",
    hours=66,
    memory_gb=24,
)

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101")),
)
