"""``import gumbel`` needs torch alone."""

import subprocess
import sys
from pathlib import Path

#: Everything that the extras install, and what torch can do without.
BLOCKED = [
    "altair",
    "cv2",
    "jinja2",
    "lvis",
    "matplotlib",
    "numba",
    "mmcv",
    "mmdet",
    "mmengine",
    "msgspec",
    "numpy",
    "pandas",
    "pyarrow",
    "pycocotools",
    "pydantic",
    "scipy",
    "snakemake",
    "vl_convert",
    "yaml",
]

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")  # torch says that it found no NumPy


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)


sys.meta_path.insert(0, Blocker())
import torch

before = {{name.partition(".")[0] for name in sys.modules}}
import gumbel
from gumbel import activations

added = {{name.partition(".")[0] for name in sys.modules}} - before - sys.stdlib_module_names
assert added == {{"gumbel"}}, added
logits = torch.full((2, 1204), -2.0, requires_grad=True)
for name in activations.names():
    activation = activations.get(name)
    # Those without a loss are trained by mmdet's modules
    trained = activation.loss(logits, torch.tensor([0, 1203])) if activation.loss else activation.scores(logits).sum()
    trained.backward()
print(round(gumbel.gumbel_cross_entropy(logits, torch.tensor([0, 1203])).item(), 2))
"""


def test_import_and_every_activation_work_with_torch_alone():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(blocked=BLOCKED)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "8.13"
