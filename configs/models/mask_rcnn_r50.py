"""Mask R-CNN, ResNet-50, FPN: class-specific boxes and masks."""

_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

# LVIS protocol of the paper: every score above 1e-4, at most 300 detections an image.
model = dict(test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))
