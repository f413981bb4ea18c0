"""Mask R-CNN, ResNet-50, FPN: class-specific boxes and masks."""

_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

architecture = dict(
    label="M-R50",
    detector="Mask R-CNN, ResNet-50",
    backbone="resnet50-0676ba61",
    hours=55,
    memory_gb=24,
)

# LVIS protocol of the paper: every score above 1e-4, at most 300 detections an image.
model = dict(test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))
