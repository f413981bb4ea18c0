"""What planning 1,500 cells costs, and what every job pays for starting Snakemake, in CPU seconds.

    python benchmarks/dry_run.py                                  # of this checkout
    python benchmarks/dry_run.py --checkout ../before --repeat 5  # and of another one, in turn

A job of the SLURM profile starts Snakemake on its node for the one file that it makes: the first line. Both are the
least of several runs; beside other work a processor's time is longer too.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 100  # times five architectures and three activations
ONE = "results/many/mask_rcnn_r50/gumbel/seed0/train/manifest.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkout", type=Path, nargs="*", default=[], help="others to compare with")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    checkouts = [path.resolve() for path in (*arguments.checkout, ROOT)]
    runs = {"one job of 1,500 cells": ["--quiet", "--", ONE], "1,500 cells": []}
    for name, options in runs.items():
        seconds: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
        for _ in range(arguments.repeat):
            for checkout in checkouts:
                seconds[checkout].append(cpu_seconds(checkout, options))
        own = min(seconds.pop(ROOT))
        compared = "".join(
            f", {own / min(others):.0%} of {path.name}'s {min(others):.2f} s" for path, others in seconds.items()
        )
        print(f"{name}: {own:.2f} s of CPU{compared}", flush=True)


def cpu_seconds(checkout: Path, options: list[str]) -> float:
    """CPU time of a dry run of the checkout's workflow, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Path(folder) / "many.yaml"
        settings = {"base": "lvis", "name": "many", "description": "Many cells.", "seeds": list(range(SEEDS))}
        experiment.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "snakemake", "-n", "--profile", "slurm", "--configfile", str(experiment)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [*command, "--directory", folder, *options],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
