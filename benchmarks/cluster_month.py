"""A month of 1,500 trainings on a cluster that fails: GPU-hours lost with and without checkpoints.

    python benchmarks/cluster_month.py                        # 1,500 cells on 16 nodes of 8 GPUs, 20 times
    python benchmarks/cluster_month.py --cells 60 --nodes 2 --months 3

A model, not a measurement: trainings of known length on one GPU each, nodes that fail, preemptions and a time limit,
as events in time. What a training keeps is what ``python -m gumbel train`` keeps: all of it when a signal comes first
(time limit, preemption), its last checkpoint when its node dies. Without checkpoints it starts again from nothing.
Prints means over the months with their standard deviation; the last line is JSON.

Where the numbers come from:

- Lengths: 12 epochs of 6,212 steps of 16 images, at the seconds a step that mmdetection's MODEL_ZOO.md of 2018 gives
  for 8 V100; HTC is assumed 1.25 of Cascade Mask R-CNN. One GPU of the cluster is assumed to do what 3 of these did.
- Checkpoints: every 1,000 of the 74,544 steps, as in configs/schedules/schedule_1x.py.
- Node failures: 6.50 per 1,000 node-days, of Meta's RSC-1 (Kokolis et al., HPCA 2025, arXiv:2410.21680).
- Assumed, for want of a source: a preemption per training and week, 24 hours to repair a node, 6 minutes from the start
  of a job to its first step. After the time limit a training is
  tried three times more.
"""

import argparse
import heapq
import itertools
import json
from collections import Counter
from dataclasses import asdict, dataclass, field

import numpy as np

STEPS = 12 * 6212
#: Seconds a step of 16 images on 8 V100.
V100_SECONDS = {"M-R50": 0.690, "M-R101": 0.825, "M-X101": 0.972, "C-R101": 1.055, "H-R101": 1.25 * 1.055}
HOURS = {name: STEPS * seconds * 8 / 3 / 3600 for name, seconds in V100_SECONDS.items()}
CHECKPOINT = 1000 / STEPS
MONTH = 30 * 24.0


@dataclass(frozen=True)
class Cluster:
    """Nodes and what befalls them; times in hours, rates per hour."""

    nodes: int = 16
    gpus: int = 8
    node_failures: float = 6.50 / 1000 / 24
    repair: float = 24.0
    preemptions: float = 1 / (7 * 24)
    limit: float = 72.0
    retries: int = 3
    startup: float = 0.1
    horizon: float = MONTH


@dataclass
class Outcome:
    """GPU-hours: ``used`` by attempts, ``lost`` of these to interruptions and start-ups; trainings ``done`` of all."""

    done: int = 0
    given_up: int = 0
    used: float = 0.0
    lost: float = 0.0
    ended: float = 0.0
    events: Counter = field(default_factory=Counter)


@dataclass
class _Attempt:
    training: int
    node: int
    started: float


def simulate(lengths: np.ndarray, cluster: Cluster, checkpoint: float | None, rng: np.random.Generator) -> Outcome:
    """Run trainings of ``lengths`` hours, first come first served, until all have ended or the month has.

    Args:
        checkpoint: share of a training between two checkpoints; None keeps nothing.
    """
    outcome = Outcome()
    kept = np.zeros(len(lengths))
    overruns = np.zeros(len(lengths), int)
    waiting = list(range(len(lengths)))  # a heap: whoever was first stays first
    free = dict.fromkeys(range(cluster.nodes), cluster.gpus)
    running: dict[int, _Attempt] = {}
    names = itertools.count()
    # Only the first event of an attempt counts, and none of an attempt that is no longer running
    events: list[tuple[float, str, int]] = []
    for node in free if cluster.node_failures else ():
        heapq.heappush(events, (rng.exponential(1 / cluster.node_failures), "node failure", node))

    def start(now: float) -> None:
        for node in [node for node, room in free.items() for _ in range(room)]:
            if not waiting:
                return
            training, name = heapq.heappop(waiting), next(names)
            running[name] = _Attempt(training, node, now)
            free[node] -= 1
            ends = {
                "done": now + cluster.startup + lengths[training] - kept[training],
                "time limit": now + cluster.limit,
                "preemption": now + (rng.exponential(1 / cluster.preemptions) if cluster.preemptions else np.inf),
            }
            event = min(ends, key=ends.__getitem__)
            heapq.heappush(events, (ends[event], event, name))

    def end(name: int, now: float, event: str) -> None:
        attempt = running.pop(name)
        training, elapsed = attempt.training, now - attempt.started
        reached = kept[training] + max(0.0, elapsed - cluster.startup)
        if event == "done":
            saved = lengths[training]
        elif checkpoint is None:
            saved = 0.0
        elif event == "node failure":
            step = checkpoint * lengths[training]
            saved = max(kept[training], step * np.floor(reached / step + 1e-9))
        else:
            saved = reached
        outcome.used += elapsed
        outcome.lost += elapsed - (saved - kept[training])
        kept[training] = saved
        outcome.events[event] += 1
        overruns[training] += event == "time limit"
        if event == "done":
            outcome.done += 1
        elif overruns[training] > cluster.retries:
            outcome.given_up += 1
            outcome.lost += saved
        else:
            heapq.heappush(waiting, training)
        if event != "node failure":
            free[attempt.node] += 1

    start(0.0)
    while events and (running or waiting):
        now, event, which = heapq.heappop(events)
        if now > cluster.horizon:
            break
        if event == "node failure":
            for name in [name for name, attempt in running.items() if attempt.node == which]:
                end(name, now, event)
            free[which] = 0
            heapq.heappush(events, (now + cluster.repair, "repaired", which))
        elif event == "repaired":
            free[which] = cluster.gpus
            heapq.heappush(events, (now + rng.exponential(1 / cluster.node_failures), "node failure", which))
        elif which in running:
            end(which, now, event)
        else:
            continue
        outcome.ended = now
        start(now)
    outcome.used += sum(cluster.horizon - attempt.started for attempt in running.values())
    return outcome


def matrix(cells: int) -> np.ndarray:
    """Lengths in hours of a matrix with as many cells of each architecture."""
    return np.resize(list(HOURS.values()), cells)


def report(cells: int, cluster: Cluster, checkpoint: float | None, months: int) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over ``months`` of each figure."""
    outcomes = [simulate(matrix(cells), cluster, checkpoint, np.random.default_rng(seed)) for seed in range(months)]
    columns = {
        "done": [outcome.done for outcome in outcomes],
        "given up": [outcome.given_up for outcome in outcomes],
        "GPU-hours used": [outcome.used for outcome in outcomes],
        "GPU-hours lost": [outcome.lost for outcome in outcomes],
        "lost in %": [100 * outcome.lost / outcome.used for outcome in outcomes],
        "days": [outcome.ended / 24 for outcome in outcomes],
        "killed with a node": [outcome.events["node failure"] for outcome in outcomes],
        "preempted": [outcome.events["preemption"] for outcome in outcomes],
        "over the limit": [outcome.events["time limit"] for outcome in outcomes],
    }
    return {name: (float(np.mean(values)), float(np.std(values))) for name, values in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=1500)
    parser.add_argument("--nodes", type=int, default=16, help="of 8 GPUs")
    parser.add_argument("--limits", type=float, nargs="+", default=[168.0, 72.0, 24.0], help="hours a job may run")
    parser.add_argument("--preemptions", type=float, default=1.0, help="of a running training, per week")
    parser.add_argument("--months", type=int, default=20, help="how many are simulated")
    options = parser.parse_args()
    print(f"{options.cells} trainings of " + ", ".join(f"{name} {hours:.0f} h" for name, hours in HOURS.items()))
    results = []
    for limit in options.limits:
        cluster = Cluster(nodes=options.nodes, limit=limit, preemptions=options.preemptions / (7 * 24))
        both = {
            "with checkpoints": report(options.cells, cluster, CHECKPOINT, options.months),
            "without": report(options.cells, cluster, None, options.months),
        }
        print(f"\n{f'jobs of {limit:.0f} h':<20}" + "".join(f"{name:>22}" for name in both))
        for key in both["without"]:
            values = (f"{mean:,.1f} ± {spread:,.1f}" for mean, spread in (column[key] for column in both.values()))
            print(f"{key:<20}" + "".join(f"{value:>22}" for value in values))
        results.append({"cluster": asdict(cluster), "figures": both})
    print(json.dumps({"cells": options.cells, "months": options.months, "results": results}))


if __name__ == "__main__":
    main()
