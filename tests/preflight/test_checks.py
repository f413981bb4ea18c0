"""Each check passes where all is well, and fails, with what to do, where its one thing is wrong."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from gumbel.datasets import backbones
from gumbel.experiment import matrix
from gumbel.jobs.files import write_json
from gumbel.jobs.manifest import sha256
from gumbel.paths import CONFIGS
from gumbel.preflight import checks

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
MINI = matrix.load(CONFIGS / "experiments" / "mini.yaml")


def only(found: object) -> checks.Check:
    (check,) = found
    return check


def test_versions_are_those_that_are_pinned(tmp_path):
    assert checks.versions().passed
    pins = tmp_path / "requirements.txt"
    pins.write_text("".join(f"{name}==0.0.1\n" for name in checks.DECISIVE))
    found = checks.versions(pins)
    assert not found.passed
    assert f"torch {torch.__version__.partition('+')[0]} instead of 0.0.1" in found.found


def test_operators_agree_on_the_cpu_and_are_refused_where_there_is_no_such_device(monkeypatch):
    assert checks.operators("cpu").passed
    assert not checks.operators("cuda:99").passed
    monkeypatch.setattr("mmcv.ops.roi_align", lambda features, box, side: 2 * features[..., :side, :side])
    assert "wrong results" in checks.operators("cpu").found


def test_too_few_gpus_and_too_little_memory_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: type("Properties", (), {"total_memory": 16e9})
    )
    assert [check.passed for check in checks.gpus(1, 10e9)] == [True, True]
    assert [check.passed for check in checks.gpus(2, 10e9)] == [False, True]
    assert [check.passed for check in checks.gpus(1, 20e9)] == [True, False]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not only(checks.gpus(1, 0)).passed


@pytest.mark.parametrize(
    ("build", "compiled", "gpu", "found"),
    [
        ("13.0", ["sm_75", "sm_80", "sm_90"], "NVIDIA H100 80GB HBM3, 580.65.06, 9.0", None),
        ("13.0", ["sm_75", "sm_80", "sm_90"], "NVIDIA A10, 590.10, 8.6", None),
        ("13.0", ["sm_75", "sm_80", "sm_90"], "NVIDIA A100, 550.54, 8.0", "driver 550.54, where CUDA 13.0 needs 580"),
        ("12.6", ["sm_70", "sm_80", "sm_90"], "NVIDIA A100, 550.54, 8.0", None),
        ("12.6", ["sm_70", "sm_80", "sm_90"], "Tesla V100-SXM2-32GB, 535.1, 7.0", None),
        (
            "13.0",
            ["sm_75", "sm_80"],
            "Tesla V100-SXM2-32GB, 580.1, 7.0",
            "capability 7.0, where this build has 7.5, 8.0",
        ),
        ("12.6", ["sm_70", "sm_80"], "Tesla V100, 470.1, 7.0", "driver 470.1, where CUDA 12.6 needs 525"),
    ],
)
def test_a_build_of_torch_is_compared_with_the_driver_and_the_gpu(tmp_path, monkeypatch, build, compiled, gpu, found):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho '{gpu}'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: compiled)
    check = only(checks.drivers())
    assert check.passed is (found is None)
    assert found is None or (found in check.found and "TORCH_INDEX" in str(check))


def test_a_build_of_torch_without_cuda_is_named(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in only(checks.drivers()).found


def test_disk_space_is_compared_with_what_is_written(tmp_path, monkeypatch):
    """One training of a million parameters: 5 x 4 MB; detections of lvis: 19,809 images x 300 x 250 bytes x 20."""
    monkeypatch.chdir(tmp_path)
    assert checks.disk(MINI, [1_000_000]).passed
    usage = shutil.disk_usage(tmp_path)
    needed = 5 * 4e6 + 19_809 * 300 * 250 * 20
    for free, passed in ((needed + 1, True), (needed - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        assert checks.disk(LVIS, [1_000_000]).passed is passed


def test_a_folder_that_cannot_be_written_to_and_a_clock_that_is_off_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [check.passed for check in checks.writing(MINI)] == [True, True]
    assert not list(Path("results/mini").iterdir())
    now = checks.time.time()
    monkeypatch.setattr(checks.time, "time", lambda: now - 3600)
    assert [check.passed for check in checks.writing(MINI)] == [True, False]
    shutil.rmtree("results")
    Path("results").write_text("a file")
    found = only(checks.writing(MINI))
    assert (found.name, found.passed) == ("writing", False)


def test_curves_for_wandb_need_a_key_or_no_server(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    tracked = MINI.model_copy(update={"track": ["tensorboard", "wandb"]})
    assert list(checks.trackers(MINI)) == []
    assert not only(checks.trackers(tracked)).passed
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert only(checks.trackers(tracked)).passed
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    assert only(checks.trackers(tracked)).passed
    assert "secret" not in str(only(checks.trackers(tracked)))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example:8080")
    assert not only(checks.trackers(tracked)).passed
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert only(checks.trackers(tracked)).passed


def test_a_split_without_pictures_is_refused_by_name():
    assert checks.splits(MINI).passed
    empty = MINI.model_copy(update={"data": {**MINI.data, "warm_start_images": 0}})
    check = checks.splits(empty)
    assert not check.passed
    assert "warm_start 0 images" in check.found


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """Data and weights in miniature, recorded as verified."""
    monkeypatch.chdir(tmp_path)
    files = matrix.data(LVIS)
    seen = {}
    for split in ("train", "val"):
        files.annotations(split).parent.mkdir(parents=True, exist_ok=True)
        files.annotations(split).write_text(split)
        seen[split] = {"sha256": sha256(files.annotations(split))}
    write_json(files.verified, {"schema": 1, "annotations": seen})
    published = {}
    for name, backbone in backbones.backbones().items():
        backbone.path.parent.mkdir(parents=True, exist_ok=True)
        backbone.path.write_text(name)
        published[name] = backbone.model_copy(update={"sha256": sha256(backbone.path)[:8]})
    monkeypatch.setattr(backbones, "backbones", lambda: published)
    return files


def test_verified_data_and_published_weights_pass(downloaded):
    found = list(checks.data(LVIS))
    assert len(found) == 2 + 3
    assert all(check.passed for check in found)


def test_data_that_changed_or_is_missing_is_refused_by_name(downloaded):
    downloaded.annotations("val").write_text("cut")
    backbones.backbones()["resnet50-0676ba61"].path.unlink()
    wrong = [check for check in checks.data(LVIS) if not check.passed]
    assert [check.name.rpartition("/")[2] for check in wrong] == ["val.json", "resnet50-0676ba61.pth"]
    assert "snakemake data" in str(wrong[0])
    os.unlink(downloaded.verified)
    assert not next(checks.data(LVIS)).passed
