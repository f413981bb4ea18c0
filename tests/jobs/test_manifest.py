"""Facts about a run are read from the machine that it runs on."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime

import numpy as np

from gumbel.jobs import manifest
from gumbel.paths import REPOSITORY


def test_the_digest_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert manifest.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    (tmp_path / "file").write_bytes(b"")
    assert manifest.sha256(tmp_path / "file").startswith("e3b0c44298fc1c14")


def test_the_environment_is_this_one_and_can_be_written_as_json(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    facts = manifest.environment()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["host"] == platform.node()
    assert facts["cpus"] == os.cpu_count()
    assert facts["versions"] == {name: importlib.metadata.version(name) for name in manifest.PACKAGES}
    assert facts["slurm"]["SLURM_JOB_ID"] == "42"
    assert facts["processor"]


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr(manifest, "PACKAGES", ("torch", "no-such-package"))
    assert manifest.environment()["versions"]["no-such-package"] is None


def test_the_commit_is_the_checkouts_and_none_outside_one(monkeypatch, tmp_path):
    head = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    commit = manifest.environment()["commit"]
    assert commit is None if head.returncode else re.sub("-dirty$", "", commit) == head.stdout[:12]
    monkeypatch.setattr(manifest, "REPOSITORY", tmp_path)
    assert manifest.environment()["commit"] is None


def test_the_time_is_now_in_utc():
    assert abs((datetime.now(UTC) - datetime.fromisoformat(manifest.now())).total_seconds()) < 2


def test_peak_memory_is_in_bytes_and_never_falls():
    before = manifest.peak_memory_bytes()
    block = np.ones(before // 8 + (1 << 20))
    grown = manifest.peak_memory_bytes()
    assert grown >= block.nbytes
    del block
    assert manifest.peak_memory_bytes() >= grown


def test_gpus_are_those_that_nvidia_smi_names(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nfor gpu in 0 1; do echo 'NVIDIA A100-SXM4-40GB, 40960 MiB, 580.65.06'; done\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    expected = {"name": "NVIDIA A100-SXM4-40GB", "memory.total": "40960 MiB", "driver_version": "580.65.06"}
    assert manifest.gpus(*expected) == [expected] * 2
    assert manifest.environment()["gpus"] == [expected] * 2
    for code in (6, 0):
        tool.write_text(f"#!/bin/sh\necho 'no devices were found'; exit {code}\n")
        assert manifest.gpus(*expected) == []


def test_a_jobs_record_spans_from_its_start_to_its_end(tmp_path):
    (tmp_path / "input").write_bytes(b"read")
    before = manifest.now()
    job = manifest.Record()
    job.write(tmp_path / "manifest.json", inputs=manifest.sha256s([tmp_path / "input"]))
    record = json.loads((tmp_path / "manifest.json").read_text())
    assert before <= record["started"] <= record["finished"] <= manifest.now()
    assert 0 <= record["wall_seconds"] < 60
    assert record["inputs"] == {str(tmp_path / "input"): hashlib.sha256(b"read").hexdigest()}
    assert record["peak_gpu_memory_bytes"] is None
    assert record.items() >= manifest.environment().items()


def test_the_commit_of_a_job_is_the_one_that_it_began_with(monkeypatch, tmp_path):
    """A training of days runs the code that it loaded, whatever is checked out meanwhile."""
    monkeypatch.setattr(manifest, "_commit", lambda: "before")
    job = manifest.Record()
    monkeypatch.setattr(manifest, "_commit", lambda: "after")
    job.write(tmp_path / "manifest.json")
    assert json.loads((tmp_path / "manifest.json").read_text())["commit"] == "before"
