"""The paper's 1x schedule: 12 epochs of 6,212 steps at batch 16, a tenth of the rate after epochs 8 and 11.

An epoch is 99,388 images, those of LVIS v1's training split that have annotations. Schedules count steps of the
optimiser, whatever the number of GPUs.
"""

epoch = 6212
iterations = 12 * epoch
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=iterations, milestones=[8 * epoch, 11 * epoch], gamma=0.1),
]
checkpoint_interval = 1000
