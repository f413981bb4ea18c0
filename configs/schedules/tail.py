"""A cell of the study `tail`: until AP has levelled, from the architecture's warm start."""

_base_ = "./mini.py"

iterations = 2400
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=iterations, T_max=iterations - 20, eta_min=1e-5),
]
checkpoint_interval = 200
