"""Hybrid Task Cascade without the semantic branch, ResNet-101, FPN."""

_base_ = "mmdet::htc/htc-without-semantic_r50_fpn_1x_coco.py"

architecture = dict(
    label="H-R101",
    detector="Hybrid Task Cascade, ResNet-101",
    backbone="resnet101-63fe2227",
    hours=162,
    memory_gb=32,
)

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101")),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
