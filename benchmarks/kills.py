"""Kill a training with SIGKILL at a random moment, let it go on, and compare the weights with an undisturbed run's.

    python benchmarks/kills.py results/mini/mask_rcnn_r50/gumbel/seed0/config.py --kills 10

Run it where the configuration's data and warm start are. Prints a line a kill, and the share of killed trainings that
ended with the same bits in every weight and every loss.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from mmengine.config import Config

from gumbel.jobs import status
from gumbel.paths import TrainingPaths


def train(paths: TrainingPaths, kill: Callable[[float], bool] = lambda seconds: False) -> float:
    """Train; seconds from the first iteration to the end, or to SIGKILL once ``kill`` of these seconds is true."""
    command = [sys.executable, "-m", "gumbel", "train", str(paths.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not _has_begun(paths, process.pid):
            time.sleep(0.01)
        begun = time.monotonic()
        while True:
            try:
                _, errors = process.communicate(timeout=0.05)
                break
            except subprocess.TimeoutExpired:
                if kill(time.monotonic() - begun):
                    process.send_signal(signal.SIGKILL)
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(errors)
    return time.monotonic() - begun


def _has_begun(paths: TrainingPaths, pid: int) -> bool:
    state = status.read(paths.status)
    return state is not None and state.pid == pid and state.loss is not None


def same(one: TrainingPaths, other: TrainingPaths) -> bool:
    """Whether two trainings have the same bits in every weight and every loss."""
    first, second = (torch.load(paths.checkpoint, weights_only=True) for paths in (one, other))
    weights = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    histories = [pd.read_parquet(paths.history).drop(columns=["seconds", "waited"]) for paths in (one, other)]
    return weights and histories[0].equals(histories[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a resolved configuration")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--iterations", type=int, help="of each training (default: the configuration's)")
    parser.add_argument("--interval", type=int, default=10, help="iterations between checkpoints (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    config = Config.fromfile(options.config)
    config.default_hooks.checkpoint.interval = options.interval
    config.train_cfg.max_iters = options.iterations or config.train_cfg.max_iters
    folder = Path(tempfile.mkdtemp(prefix="kills-", dir="."))
    trainings = [TrainingPaths(folder / name) for name in ("undisturbed", *map(str, range(options.kills)))]
    for paths in trainings:
        paths.root.mkdir()
        config.dump(paths.config)
    undisturbed, *killed = trainings
    seconds = train(undisturbed)
    print(f"undisturbed: {config.train_cfg.max_iters} iterations in {seconds:.1f} s")
    moments = random.Random(options.seed)
    identical = 0
    for number, paths in enumerate(killed, 1):
        due = moments.uniform(0, 0.95 * seconds)
        moment = train(paths, lambda passed: passed >= due)  # noqa: B023
        train(paths)
        equal = same(undisturbed, paths)
        identical += equal
        attempts = json.loads(paths.manifest.read_text())["attempts"]
        print(
            f"kill {number}: after {moment:.1f} s, went on from iteration {attempts[-1]['first']}: "
            f"{'identical' if equal else 'DIFFERENT'}",
            flush=True,
        )
    shutil.rmtree(folder)
    print(f"identical: {identical / options.kills:.2f} of {options.kills}")


if __name__ == "__main__":
    main()
