"""`tail`, twice as long: whether more training changes the order of activations."""

_base_ = "./tail.py"

iterations = 4800
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=iterations, T_max=iterations - 20, eta_min=1e-5),
]
