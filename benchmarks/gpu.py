"""What only a GPU can prove, step by step, each in a process of its own: one table, one JSON. Run benchmarks/gpu.sh.

What is not timed is done side by side first. A step that fails, crashes or takes too long leaves the next ones alone.
Steps come in the order of their worth: when the time of all is over, the last ones are left out and said to be.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import gpu_steps

#: Seconds that all steps may take together.
BUDGET = 560.0


@dataclass(frozen=True)
class Step:
    """What is proved, within how many seconds, and in which lane; one without a lane has the machine for itself."""

    name: str
    seconds: float
    words: str
    lane: str | None = None


STEPS = (
    Step("operators", 60, "mmcv's operators against the CPU's", "checks"),
    Step("values", 60, "the loss of every activation against float64", "checks"),
    Step("cells", 150, "every cell's model at full width: a step, with the doctor's checks", "checks"),
    Step("doctor", 120, "the doctor of mini", "checks"),
    Step("training", 150, "a cell of mini: trained, killed, resumed, predicted, scored", "mini"),
    Step("precisions", 150, "cells of mini in every precision: AP beside that of fp32", "precisions"),
    Step("trial_first", 140, "the first architecture in every precision"),
    Step("trial_others", 160, "the other architectures in fp32 and fp16"),
    Step("loss", 40, "the loss against its rivals: time, bytes, kernels"),
    Step("nccl", 40, "as many processes as GPUs"),
    Step("compilation", 120, "the first architecture compiled"),
)


def machine() -> dict[str, Any]:
    """What ran, and on what; a process of its own asks, so that this one never holds the GPU."""
    code = (
        "import json, torch; ready = torch.cuda.is_available(); import importlib.metadata as m\n"
        "names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if ready else []\n"
        "versions = {}\n"
        "for name in ('torch', 'mmcv', 'mmdet', 'mmengine', 'numpy'):\n"
        "    try: versions[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: versions[name] = None\n"
        "print(json.dumps(dict(gpus=names, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),"
        " versions=versions)))"
    )
    facts = dict(python=platform.python_version(), cpus=os.cpu_count(), host=platform.platform())
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
        facts |= json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        facts["problem"] = str(error)
    smi = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        facts["driver"] = subprocess.run(smi, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        facts["driver"] = None
    return facts


def attempt(step: Step, small: bool, limit: float, log: Any) -> dict[str, Any]:
    """Run ``step`` for at most ``limit`` seconds: what it found by then, and what went wrong."""
    print(f"{step.name}: {step.words}", flush=True)
    environment = os.environ | ({"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 8))} if step.lane else {})
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--step", step.name, "--output", str(found)]
        start = time.monotonic()
        problem = None
        with subprocess.Popen(
            [*command, *(["--small"] if small else [])],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        ) as process:
            try:
                status = process.wait(timeout=limit)
                problem = None if status == 0 else f"ended with status {status}"
            except subprocess.TimeoutExpired:
                problem = f"out of time after {limit:.0f} s"
            finally:
                with contextlib.suppress(ProcessLookupError):  # with all that it started
                    os.killpg(process.pid, signal.SIGKILL)
        lines = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    for line in lines:
        problem = line.pop("problem", None) or problem
    kept = [line for line in lines if line]
    return dict(step=step.name, seconds=round(time.monotonic() - start, 1), problem=problem, found=kept)


def perform(name: str, small: bool, output: Path) -> None:
    """Take the step in this process; each finding is written as it comes."""
    with output.open("a") as file:

        def write(finding: dict[str, Any]) -> None:
            print(json.dumps(finding), flush=True)
            file.write(json.dumps(finding) + "\n")
            file.flush()

        try:
            findings: Iterator[dict[str, Any]] = getattr(gpu_steps, name)(small)
            for finding in findings:
                write(finding)
        except Exception as error:
            write({"problem": " ".join(f"{type(error).__name__}: {error}".split())[:300]})
            raise


def table(record: dict[str, Any]) -> str:
    """Each step with its findings, a line each."""
    about = record["machine"]
    gpus = ", ".join(about.get("gpus") or []) or "no GPU"
    versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
    lines = [
        f"{gpus}; driver {about.get('driver')}, CUDA {about.get('cuda')}, Python {about['python']}, {versions}",
        record["started"],
    ]
    for each in record["steps"]:
        state = each["problem"] or "done"
        lines.append(f"{each['step']:<14} {each['seconds']:>6.1f} s  {state}")
        for finding in each["found"]:
            lines.append("    " + ", ".join(f"{key} {_short(value)}" for key, value in finding.items()))
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [step.name for step in STEPS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="steps to take")
    parser.add_argument("--small", action="store_true", help="at small size on the CPU: tries the script")
    parser.add_argument("--seconds", type=float, default=BUDGET, help="for all steps together (default %(default)g)")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--step", choices=names, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        perform(options.step, options.small, options.output)
        return
    factor = 10 if options.small else 1  # a small machine is a slow one
    end = time.monotonic() + factor * options.seconds
    record: dict[str, Any] = dict(schema=1, started=time.strftime("%Y-%m-%dT%H:%M:%S%z"), small=options.small)
    record |= dict(machine=machine(), steps=[])
    log_path = options.output.with_suffix(".log")
    with log_path.open("w") as log:

        def take(steps: Iterable[Step]) -> None:
            for step in steps:
                limit = min(factor * step.seconds, end - time.monotonic())
                left_out = dict(step=step.name, seconds=0.0, problem="left out: no time", found=[])
                record["steps"].append(left_out if limit < 5 else attempt(step, options.small, limit, log))
                options.output.write_text(json.dumps(record, indent=1) + "\n")

        chosen = [step for step in STEPS if step.name in options.only]
        lanes = [[step for step in chosen if step.lane == lane] for lane in dict.fromkeys(step.lane for step in STEPS)]
        *together, alone = lanes
        with ThreadPoolExecutor(len(together)) as pool:
            list(pool.map(take, together))
        take(alone)
    print(table(record))
    print(f"{options.output} has it all; {log_path} has what the steps printed")


if __name__ == "__main__":
    main()
