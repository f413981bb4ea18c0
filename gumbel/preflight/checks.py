"""What a training needs of the machine and of the disk, each looked at in seconds."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests.utils
import torch

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest
from gumbel.paths import REPOSITORY, ExperimentPaths

#: Packages whose version decides a training's result, or whether it runs at all.
DECISIVE = ("torch", "mmcv", "mmdet", "mmengine", "numpy", "opencv-python-headless", "pycocotools", "lvis", "numba")
#: The oldest major version of NVIDIA's driver that runs builds for each major version of CUDA (minor version
#: compatibility in NVIDIA's CUDA Compatibility guide).
DRIVERS = {11: 450, 12: 525, 13: 580}
#: Bytes of a stored detection with its mask, generously.
DETECTION_BYTES = 250
#: Seconds by which the clocks of this host and of the file system may differ.
CLOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it must be, what was found, and what to do where it is not."""

    name: str
    passed: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok  ' if self.passed else 'FAIL'} {self.name}: {self.found}"
        return line if self.passed else f"{line}\n     {self.remedy}"


def versions(pins: Path = REPOSITORY / "requirements.txt") -> Check:
    """The installed versions of decisive packages against the pinned ones."""
    lines = (line.partition("==") for line in pins.read_text().splitlines() if "==" in line and line[0] != "#")
    pinned = {name: version for name, _, version in lines}
    found = {name: str(manifest.version(name)).partition("+")[0] for name in DECISIVE}
    wrong = [f"{name} {found[name]} instead of {pinned[name]}" for name in DECISIVE if found[name] != pinned[name]]
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    words = "; ".join(wrong) or listed
    return Check("versions", not wrong, words, "run `make install`, or pip install the pinned ones")


def operators(device: str) -> Check:
    """mmcv's compiled operators on ``device``, against results that are known without them."""
    name, remedy = f"mmcv operators on {device}", "build mmcv again where this device's compiler is (docs/preflight.md)"
    try:
        from mmcv.ops import nms, roi_align

        features = torch.full((1, 1, 8, 8), 3.0, device=device, requires_grad=True)
        box = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]], device=device)
        pooled = roi_align(features, box, 2)
        pooled.sum().backward()
        twice = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0], [9.0, 9.0, 12.0, 12.0]], device=device)
        _, kept = nms(twice, torch.tensor([0.5, 0.9, 0.7], device=device), 0.5)
        gradient = features.grad
        assert gradient is not None
        found = (pooled.flatten().tolist(), round(gradient.sum().item(), 3), kept.tolist())
    except (ImportError, RuntimeError, AssertionError) as error:  # the last where torch has no CUDA
        return Check(name, False, " ".join(str(error).split()) or type(error).__name__, remedy)
    # A constant pools to itself, its gradients add up to the number of bins, and of two equal boxes the better stays
    right = found == ([3.0] * 4, 4.0, [1, 2])
    words = "RoIAlign and NMS agree with known results" if right else f"wrong results {found}"
    return Check(name, right, words, remedy)


def drivers(minima: Mapping[int, int] = DRIVERS) -> Iterator[Check]:
    """Whether this build of torch can use each of this machine's GPUs: its driver, and its compute capability.

    Args:
        minima: the oldest major version of a driver for each major version of CUDA.
    """
    remedy = "install another build of the same torch: make install TORCH_INDEX=... (docs/how-to/gpu-environment.md)"
    if torch.version.cuda is None:
        yield Check("torch's build", False, f"torch {torch.__version__} is built without CUDA", remedy)
        return
    build, oldest = torch.version.cuda, minima.get(int(torch.version.cuda.partition(".")[0]), 0)
    compiled = sorted(int(each[3:]) for each in torch.cuda.get_arch_list() if each.startswith("sm_"))
    # torch says nothing of a GPU that is too new
    for gpu in manifest.gpus("name", "driver_version", "compute_cap"):
        name, driver, capability = gpu.values()
        major, minor = capability.split(".")
        old = int(driver.partition(".")[0]) < oldest
        # Code for a capability runs on later ones of the same major number
        runs = any(each // 10 == int(major) and each % 10 <= int(minor) for each in compiled)
        problems = [f"driver {driver}, where CUDA {build} needs {oldest}"] if old else []
        if not runs:
            listed = ", ".join(f"{each // 10}.{each % 10}" for each in compiled)
            problems.append(f"compute capability {capability}, where this build has {listed}")
        words = "; ".join(problems) or f"driver {driver}, compute capability {capability}"
        yield Check(f"torch {torch.__version__} for CUDA {build} on {name}", not problems, words, remedy)


def gpus(needed: int, memory_bytes: float) -> Iterator[Check]:
    """GPUs of this job: their number and memory against what a training needs."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count)) or "none"
    yield Check("GPUs", count >= needed, f"{names}; {needed} needed", "run it in a job with a GPU, or with --skip gpu")
    for index in range(count):
        total = torch.cuda.get_device_properties(index).total_memory
        yield Check(
            f"memory of GPU {index}",
            total >= memory_bytes,
            f"{total / 1e9:.0f} GB; about {memory_bytes / 1e9:.0f} GB needed",
            "ask for GPUs with more memory (constraint in the profile), or fewer images_per_gpu",
        )


def disk(experiment: Experiment, parameters: Iterable[int]) -> Check:
    """Free space where results go, against what trainings of so many ``parameters`` and their detections take.

    A training keeps two checkpoints with weights and momentum while it runs, its weights, and those of its snapshots.
    """
    weights = sum(4 * number * (2 * 2 + 1 + len(experiment.snapshots)) for number in parameters)
    detections = experiment.regions.detections or 300
    files = matrix.data(experiment)
    scored = sum(
        files.size(split)
        for cell in matrix.cells(experiment)
        for split, _ in matrix.scored(experiment, cell.activation)
    )
    needed = weights * len(experiment.seeds) + scored * detections * DETECTION_BYTES
    folder = ExperimentPaths(experiment.name).root.absolute()
    free = shutil.disk_usage(next(filter(Path.exists, (folder, *folder.parents)))).free
    return Check(
        "free disk",
        free >= needed,
        f"{free / 1e9:.0f} GB; at most {needed / 1e9:.1f} GB needed",
        "make room, or run in a folder on another disk",
    )


def writing(experiment: Experiment) -> Iterator[Check]:
    """That results can be written, and that the file system's clock is this host's."""
    folder = ExperimentPaths(experiment.name).root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
            ahead = os.stat(file.name).st_mtime - time.time()
    except OSError as error:
        yield Check("writing", False, f"{folder}: {error.strerror}", "make it writable, or run in a folder of your own")
        return
    yield Check("writing", True, f"{folder} can be written to")
    yield Check(
        "clock",
        abs(ahead) < CLOCK_SECONDS,
        f"file times are {ahead:+.1f} s from this host's",
        "synchronise the clocks: Snakemake decides by file times what is out of date",
    )


def splits(experiment: Experiment) -> Check:
    """That every split which is trained on or predicted has pictures and categories."""
    files, warm_start = matrix.data(experiment), experiment.warm_start
    names = dict.fromkeys(["train", *experiment.splits, *([warm_start.split] if warm_start else [])])
    sizes = {name: (files.size(name), files.classes(name)) for name in names}
    words = "; ".join(f"{name} {images} images, {classes} categories" for name, (images, classes) in sizes.items())
    return Check("splits", all(map(all, sizes.values())), words, "say other sizes in `data`, or leave the split out")


def data(experiment: Experiment) -> Iterator[Check]:
    """Annotations as they were verified or generated, and the weights that trainings start from."""
    files = matrix.data(experiment)
    remedy = "run `snakemake data` (on the submit host, if compute nodes have no network)"
    if not files.record.exists():
        yield Check("data", False, f"{files.record} is not there", remedy)
    else:
        for path, digest in files.digests():
            yield _file("data", path, digest, "as verified", remedy)
    if experiment.warm_start is None:
        for weights in matrix.starting_weights(experiment):
            remedy = f"run `python -m gumbel backbones {weights.name}`"
            yield _file("weights", weights.path, weights.sha256, "as published", remedy)


def trackers(experiment: Experiment) -> Iterator[Check]:
    """That W&B, whose client would stop a training to ask, has a key or is told to do without its server."""
    if "wandb" not in experiment.track:
        return
    mode, host = os.environ.get("WANDB_MODE", "online"), os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    found = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY") else None
    if not found and requests.utils.get_netrc_auth(host):  # as W&B asks
        found = os.environ.get("NETRC", "~/.netrc")
    words = f"WANDB_MODE is {mode}" if mode != "online" else f"a key of {host} in {found}" if found else "no key"
    remedy = (
        "run `wandb login`, set WANDB_API_KEY or WANDB_MODE=offline where trainings run, or leave it out of `track`"
    )
    yield Check("W&B", mode != "online" or bool(found), words, remedy)


def _file(what: str, path: Path, digits: str, right: str, remedy: str) -> Check:
    """Whether the SHA-256 of ``path`` begins with ``digits``."""
    found = manifest.sha256(path) if path.exists() else "nothing"
    passed = found.startswith(digits)
    return Check(f"{what} {path}", passed, right if passed else f"SHA-256 {found}", remedy)
