"""Hybrid Task Cascade without the semantic branch, ResNet-101, FPN."""

_base_ = "mmdet::htc/htc-without-semantic_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101")),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
