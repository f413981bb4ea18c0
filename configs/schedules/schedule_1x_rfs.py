"""The released 1x schedule with repeat-factor sampling: 12 epochs, each of 7,674 steps at batch 16.

mmdet counts an epoch of the repeated images: 7,674 steps of 16 for LVIS v1 and a threshold of 0.001, as the training
log in mmdetection issue 7439 shows.
"""

_base_ = "./schedule_1x.py"

epoch = 7674
iterations = 12 * epoch
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=iterations, milestones=[8 * epoch, 11 * epoch], gamma=0.1),
]
