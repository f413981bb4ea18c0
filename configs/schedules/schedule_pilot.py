"""The pilot's schedule: 10,000 steps at batch 16, about an eighth of 1x; the rate drops where 1x drops it."""

iterations = 10000
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type="MultiStepLR",
        by_epoch=False,
        begin=0,
        end=iterations,
        milestones=[iterations * 8 // 12, iterations * 11 // 12],
        gamma=0.1,
    ),
]
checkpoint_interval = 1000
