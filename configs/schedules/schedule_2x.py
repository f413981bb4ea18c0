"""The released 2x schedule: 24 epochs of 6,212 steps at batch 16, a tenth of the rate after epochs 16 and 22."""

_base_ = "./schedule_1x.py"

epoch = 6212
iterations = 24 * epoch
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=iterations, milestones=[16 * epoch, 22 * epoch], gamma=0.1),
]
