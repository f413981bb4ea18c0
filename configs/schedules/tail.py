"""A cell of the study `tail`: until AP has levelled, from the architecture's warm start."""

iterations = 2400
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=iterations, T_max=iterations - 20, eta_min=1e-5),
]
checkpoint_interval = 200
