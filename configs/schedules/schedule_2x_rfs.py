"""The released 2x schedule with repeat-factor sampling: 24 epochs, each of 7,674 steps at batch 16.

mmdet counts an epoch of the repeated images: 7,674 steps of 16 for LVIS v1 and a threshold of 0.001, as the training
log in mmdetection issue 7439 shows.
"""

_base_ = "./schedule_1x.py"

epoch = 7674
iterations = 24 * epoch
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=iterations, milestones=[16 * epoch, 22 * epoch], gamma=0.1),
]
