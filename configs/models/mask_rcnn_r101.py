"""Mask R-CNN, ResNet-101, FPN."""

_base_ = "./mask_rcnn_r50.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101")),
)
