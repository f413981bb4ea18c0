"""Your own data: augmented as the paper augments LVIS v1, in the sizes that the experiment names."""

_base_ = "./lvis_v1.py"
