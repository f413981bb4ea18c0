"""Cascade Mask R-CNN, ResNet-101, FPN: three stages, class-agnostic boxes."""

_base_ = "mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py"

architecture = dict(
    label="C-R101",
    detector="Cascade Mask R-CNN, ResNet-101",
    backbone="resnet101-63fe2227",
    hours=91,
    memory_gb=28,
)

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101")),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
