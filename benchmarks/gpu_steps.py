"""The steps of benchmarks/gpu.py: each yields findings, a flat record each, as they come.

A step works at full size on a GPU, or ``small`` on the CPU.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

Findings = Iterator[dict[str, Any]]

#: Seconds of a row of the trial on a GPU, and of one that is compiled.
ROW, COMPILED_ROW = 40.0, 115.0
#: The architecture of `mini` that is trained, and what small size changes of it.
CELL = dict(base="mini", description="Cells for a GPU.", architectures=["mask_rcnn_r50"])
CELL |= dict(splits=["val"], released_scoring=[])
ALL = dict(activations=["softmax", "sigmoid", "gumbel"])
TINY_DATA = dict(image_size=64, categories=9, train_images=24, val_images=6, warm_start_images=12)
TINY_DATA |= dict(warm_start_categories=8, drawings=1)
TINY = dict(data=TINY_DATA, data_root="data/gpu_mini", schedule="mini", batch=4)
TINY |= dict(widths=dict(base_channels=8, fpn_channels=16, fc_channels=32, mask_convs=1, anchor_scale=4))
TINY |= dict(regions=dict(train_proposals=32, test_proposals=32, sampled=16, detections=20))


def device(small: bool) -> str:
    return "cpu" if small else "cuda"


def operators(small: bool) -> Findings:
    """NMS and RoIAlign, forward and backward, on random boxes and features: this device's results against the CPU's."""
    from mmcv.ops import RoIAlign, nms, roi_align

    from gumbel.detection.options import keep_channels_last

    generator = torch.Generator().manual_seed(0)
    corners = 800 * torch.rand(2000, 2, generator=generator)
    boxes = torch.cat([corners, corners + 8 + 192 * torch.rand(2000, 2, generator=generator)], 1)
    scores = torch.rand(2000, generator=generator)
    rois = torch.cat([torch.zeros(2000, 1), boxes], 1)[:200]
    features = torch.rand(1, 16, 100, 100, generator=generator)
    kept, pooled, slopes = [], [], []
    for where in ("cpu", device(small)):
        kept.append(nms(boxes.to(where), scores.to(where), 0.5)[1].cpu())
        own = features.to(where).requires_grad_()
        out = roi_align(own, rois.to(where), 7, 0.125, 0, "avg", True)
        (slope,) = torch.autograd.grad(out.square().sum(), own)
        pooled.append(out.detach().cpu())
        slopes.append(slope.cpu())
    yield dict(operator="NMS", kept=len(kept[0]), equal=torch.equal(*kept))
    yield dict(operator="RoIAlign", largest_difference=float((pooled[0] - pooled[1]).abs().max()))
    scale = float(slopes[0].abs().max())
    yield dict(operator="RoIAlign backward", largest_difference=float((slopes[0] - slopes[1]).abs().max()) / scale)
    layer = torch.nn.Sequential(RoIAlign(7, 0.125, 0))
    keep_channels_last(layer)
    last = features.to(device(small), memory_format=torch.channels_last)
    out = layer[0](last, rois.to(device(small))).cpu()
    yield dict(operator="RoIAlign, channels-last", largest_difference=float((out - pooled[0]).abs().max()))


def cells(small: bool) -> Findings:
    """The doctor's checks of every cell of ``lvis``, its model on this device."""
    from gumbel.experiment import inheritance, matrix
    from gumbel.preflight.cells import examine

    experiment = matrix.load(inheritance.find("mini" if small else "lvis"))
    for cell in matrix.cells(experiment)[:: 7 if small else 1]:
        checks, _ = examine(experiment, cell, device=device(small))
        failed = [f"{check.name}: {check.found}" for check in checks if not check.passed]
        yield dict(cell=str(cell), passed=len(checks) - len(failed), of=len(checks), failed="; ".join(failed) or "none")


def doctor(small: bool) -> Findings:
    """The doctor of ``mini`` on this machine, its versions too: what it did not pass."""
    output = Path("results") / "mini" / "doctor.json"
    given = ["--experiment", "mini", "--skip", "data", *(["gpu"] if small else []), "--output", str(output)]
    subprocess.run([sys.executable, "-m", "gumbel", "doctor", *given], check=False)
    checks = json.loads(output.read_text())["checks"]
    yield dict(checks=len(checks), passed=sum(check["passed"] for check in checks))
    for check in checks:
        if not check["passed"] or "GPU" in check["name"] or "driver" in check["name"]:
            yield dict(check=check["name"], passed=check["passed"], found=check["found"])


def values(small: bool) -> Findings:
    """Value and slopes of every activation's loss on this device, in every precision, against float64 on the CPU."""
    from mmdet.registry import MODELS

    from gumbel import activations
    from gumbel.detection import losses as _losses  # noqa: F401 - for mmdet's registry

    generator = torch.Generator().manual_seed(0)
    classes, rows = (20, 16) if small else (1203, 512)
    for name in activations.names():
        config = activations.get(name).loss_config(classes, {})
        outputs = activations.get(name).outputs(classes)
        # Inside of where the tangents begin, which are those of the dtype and not float64's
        drawn = (4 * torch.randn(rows, outputs, generator=generator) - 2).clamp(-10, 10)
        labels = torch.randint(classes + 1, (rows,), generator=generator)
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            rounded = drawn.to(dtype)
            found = []
            for where, precise in (("cpu", torch.float64), (device(small), dtype)):
                loss = MODELS.build(config).to(where)
                logits = rounded.to(where, precise).requires_grad_()
                weights = torch.ones(rows, dtype=torch.float64 if where == "cpu" else torch.float32, device=where)
                try:
                    value = loss(logits, labels.to(where), weights, avg_factor=float(rows))
                    found.append((value.double().cpu(), torch.autograd.grad(value, logits)[0].double().cpu()))
                except RuntimeError as error:
                    yield dict(loss=name, dtype=str(dtype), failed=str(error).splitlines()[0])
            if len(found) == 2:
                (value, slopes), (other, others) = found
                error = float((other - value).abs() / value.abs())
                slope_error = float((others - slopes).abs().max() / slopes.abs().max())
                yield dict(loss=name, dtype=str(dtype), relative_error=error, of_slopes=slope_error)


def trial_first(small: bool) -> Findings:
    modes = ("bf16", "fp16") if small else ("fp32", "fp16", "bf16", "tf32", "bf16+channels_last")
    yield from _trial(small, [f"mask_rcnn_r50/{mode}" for mode in modes], [4, 16])


def compilation(small: bool) -> Findings:
    yield from _trial(small, ["mask_rcnn_r50/bf16+compile"], [4], COMPILED_ROW)


def trial_others(small: bool) -> Findings:
    others = ("mask_rcnn_r101", "mask_rcnn_x101", "cascade_r101", "htc_r101")
    rows = [f"{each}/{mode}" for each in others for mode in ("fp32", "fp16")]
    yield from _trial(small, rows[-2 if small else 0 :], [4])


def _trial(small: bool, rows: list[str], images: list[int], seconds: float = ROW) -> Findings:
    """``python -m gumbel trial``, and what it has written of ``rows`` when it ends."""
    output = Path("results") / ("mini" if small else "lvis") / "trial.json"
    given = ["--experiment", "mini" if small else "lvis", "--device", device(small), "--output", str(output)]
    given += ["--seconds", "120" if small else f"{seconds:g}"]
    given += ["--batches", *map(str, [1, 2] if small else images)]
    told = _written(output)  # by an earlier trial
    with subprocess.Popen([sys.executable, "-m", "gumbel", "trial", *given, "--only", *rows]) as process:
        ended = False
        while not ended:
            ended = process.poll() is not None
            fresh = [row for row in _written(output) if row not in told]
            told += fresh
            yield from map(_flat, fresh)
            time.sleep(0.5)
    if process.returncode:
        raise RuntimeError(f"the trial ended with status {process.returncode}")


def _written(trial: Path) -> list[dict[str, Any]]:
    return json.loads(trial.read_text())["rows"] if trial.exists() else []


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(row=f"{row['architecture']}/{row['mode']}")
    for step in row["steps"]:
        images = step["images"]
        found |= {f"s_at_{images}": step["seconds"], f"GB_at_{images}": step["memory_bytes"] / 1e9}
        found |= {f"{name}_share_at_{images}": share for name, share in step["loss_shares"].items()}
    found |= {"detected_per_s": row["images_per_second"], "encoded_per_s": row["encoded_per_second"]}
    return found | ({"failed": row["problem"]} if row["problem"] else {})


def loss(small: bool) -> Findings:
    """Forward and backward of 16 images' RoIs; the least traffic is to read the logits and to write the slopes."""
    from torch.nn import functional as F

    from benchmarks import loss as benchmark
    from gumbel import gumbel_cross_entropy

    where = device(small)
    bandwidth = _bandwidth(where, 2**22 if small else 2**29)
    yield dict(bandwidth_GB_per_s=bandwidth / 1e9)
    logits, target = benchmark.draw(*((64, 50) if small else (8192, 1204)), where)
    rivals = {"gumbel": gumbel_cross_entropy, "released formula": benchmark.released}
    rivals |= {"sigmoid, one-hot": benchmark.sigmoid, "softmax": F.cross_entropy}
    for name, each in rivals.items():
        taken = [benchmark.measure_time(each, logits, target) for _ in range(23)][3:]
        seconds = statistics.median(taken)
        traffic = 2 * logits.numel() * logits.element_size()
        yield dict(
            loss=name,
            ms=1e3 * seconds,
            share_of_bandwidth=traffic / seconds / bandwidth,
            peak_MB=benchmark.measure_memory(each, logits, target) / 1e6,
            kernels=benchmark.count_kernels(each, logits, target) if logits.is_cuda else None,
        )


def _bandwidth(where: str, elements: int) -> float:
    """Bytes a second that this device's memory moves in copying: read once, written once."""
    source = torch.zeros(elements, device=where)
    target = torch.empty_like(source)
    taken = []
    for _ in range(10):
        if where == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        if where == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return 2 * 4 * elements / min(taken[2:])


def training(small: bool) -> Findings:
    """A cell of mini on this device: undisturbed, killed and resumed, and on the CPU; each predicted and scored."""
    from mmengine.config import Config

    from benchmarks import kills
    from gumbel.paths import TrainingPaths

    experiment, annotations, files = _mini(small, "gpu_mini", activations=["gumbel"])
    yield dict(training="warm start", seconds=kills.train(files.warm_start("mask_rcnn_r50")))
    trainings = {}
    for name in ("undisturbed", "killed", "on the CPU"):
        trainings[name] = TrainingPaths(files.root / "gpu" / name.replace(" ", "_"))
        trainings[name].root.mkdir(parents=True, exist_ok=True)
        cell = files.cell("mask_rcnn_r50", experiment.activations[0], 0)
        config = Config.fromfile(cell.config)
        config.default_hooks.checkpoint.interval = max(1, config.train_cfg.max_iters // 10)
        trainings[name].config.write_text(config.pretty_text.replace(str(cell.root), str(trainings[name].root)))
    # Training does not depend on what else runs: these share the machine
    work_dir = trainings["killed"].work_dir
    with ThreadPoolExecutor(len(trainings)) as pool:
        cpu = pool.submit(_run, "train", trainings["on the CPU"].config, env=_without_gpu())
        undisturbed = pool.submit(kills.train, trainings["undisturbed"])
        killed = pool.submit(kills.train, trainings["killed"], lambda _: any(work_dir.glob("*/iter_*.pth")))
        killed.result()
        kills.train(trainings["killed"])
        yield dict(training="undisturbed", seconds=undisturbed.result())
        attempts = json.loads(trainings["killed"].manifest.read_text())["attempts"]
        yield dict(
            training="killed",
            resumed_at=attempts[-1]["first"],
            identical=kills.same(trainings["undisturbed"], trainings["killed"]),
            largest_difference=_largest_difference(*(trainings[n].checkpoint for n in ("undisturbed", "killed"))),
        )
        cpu.result()
        given: list[tuple[str, str, dict[str, str]]] = [(name, name, dict(os.environ)) for name in trainings]
        given.append(("undisturbed", "undisturbed, predicted on the CPU", _without_gpu()))
        scored = [pool.submit(_scored, name, trainings[of], annotations, where) for of, name, where in given]
        for each in scored:
            yield each.result()


def precisions(small: bool) -> Findings:
    """Cells of mini, trained from a warm start in each precision: AP, and its difference to fp32 with its interval."""
    from gumbel.evaluation.compare import compare

    modes = ("fp32", "bf16") if small else ("fp32", "tf32", "fp16", "bf16")
    _, annotations, _ = _mini(small, "gpu_mini_fp32", **ALL)
    with ThreadPoolExecutor(len(modes)) as pool:
        predicted = dict(zip(modes, pool.map(partial(_predicted_in, small), modes), strict=True))
    for mode in modes[1:]:
        for activation, baseline in predicted["fp32"].items():
            figures = compare(annotations, baseline, predicted[mode][activation]).figures.set_index("figure")
            found = figures.loc["AP", ["first", "second", "difference", "low", "high"]].rename({"first": "AP_fp32"})
            yield dict(precision=mode, activation=activation, **found.rename({"second": "AP"}).to_dict())


def _predicted_in(small: bool, mode: str) -> dict[str, Path]:
    """Predictions of each activation, trained in ``mode`` from a warm start in it."""
    experiment, _, files = _mini(small, f"gpu_mini_{mode}", **ALL, training=dict(precision=mode))
    _run("train", files.warm_start("mask_rcnn_r50").config)
    cells = {each: files.cell("mask_rcnn_r50", each, 0) for each in experiment.activations}
    outputs = {each: cell.predictions("val", "matched") for each, cell in cells.items()}
    with ThreadPoolExecutor(len(cells)) as pool:
        list(pool.map(lambda cell: _run("train", cell.config), cells.values()))
        given = [
            (cell.config, "--checkpoint", cell.checkpoint, "--output", outputs[each]) for each, cell in cells.items()
        ]
        list(pool.map(lambda words: _run("predict", *words), given))
    return outputs


def _run(*given: Any, env: dict[str, str] | None = None) -> None:
    """A command of ``gumbel``, which must succeed."""
    subprocess.run([sys.executable, "-m", "gumbel", *map(str, given)], env=env, check=True)


def _mini(small: bool, name: str, **settings: Any) -> tuple[Any, Path, Any]:
    """The experiment of one architecture of mini, its annotations of ``val`` and its files; its data is provided."""
    from gumbel.detection.compose import write_configs
    from gumbel.experiment import matrix
    from gumbel.paths import ExperimentPaths

    experiment = matrix.parse({**CELL, "name": name, **settings, **(TINY if small else {})})
    data = matrix.data(experiment)
    spec = data.settings.model_dump(exclude_none=True)
    if not data.record.exists() or json.loads(data.record.read_text())["spec"] != spec:
        data.provide()
    write_configs(experiment)
    return experiment, data.annotations("val"), ExperimentPaths(experiment.name)


def _without_gpu() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def _largest_difference(one: Path, other: Path) -> float:
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _scored(name: str, files: Any, annotations: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Mask AP of a training, predicted in ``environment``; seconds of the prediction with its start."""
    output = files.root / name.replace(" ", "_").replace(",", "") / "val" / "matched.parquet"
    start = time.monotonic()
    _run("predict", files.config, "--checkpoint", files.checkpoint, "--output", output, env=environment)
    seconds = time.monotonic() - start
    metrics = output.with_suffix(".json")
    _run("evaluate", "--annotations", annotations, "--predictions", output, "--output", metrics)
    return dict(predicted=name, seconds=seconds, AP=json.loads(metrics.read_text())["segm"]["AP"])


def nccl(small: bool) -> Findings:
    """Sums over as many processes as there are GPUs, over NCCL: right, and how fast; on the CPU two, over gloo."""
    processes = 2 if small else torch.cuda.device_count()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    worker = [*launch, __file__, "gloo" if small else "nccl"]
    done = subprocess.run(worker, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.split())[-250:])
    yield json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def _sum_over_processes(backend: str) -> None:
    """What each process of :func:`nccl` does; the first one prints."""
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    where = torch.device("cuda", local) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(where)
    torch.distributed.init_process_group(backend)
    number = torch.distributed.get_world_size()
    values = torch.full((2**24,), float(rank + 1), device=where)  # 64 MB
    torch.distributed.all_reduce(values)
    right = bool((values == number * (number + 1) / 2).all())
    taken = []
    for _ in range(5):
        torch.distributed.barrier()
        start = time.perf_counter()
        torch.distributed.all_reduce(values)
        if backend == "nccl":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    if rank == 0:
        speed = values.numel() * 4 / min(taken) / 1e9
        print(json.dumps(dict(backend=backend, processes=number, right=right, GB_per_s=speed)), flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _sum_over_processes(sys.argv[1])
