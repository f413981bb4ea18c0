"""The model of a failing cluster agrees with what can be worked out by hand."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gumbel.paths import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "cluster_month.py"
spec = importlib.util.spec_from_file_location("benchmarks_cluster_month", SCRIPT)
month = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = month
spec.loader.exec_module(month)

QUIET = month.Cluster(nodes=2, gpus=2, node_failures=0, preemptions=0, limit=np.inf, startup=0, horizon=np.inf)


def run(lengths, cluster, checkpoint=None, seed=0):
    return month.simulate(np.asarray(lengths, float), cluster, checkpoint, np.random.default_rng(seed))


def test_without_faults_nothing_is_lost_and_the_last_training_ends_when_it_must():
    outcome = run([10] * 9, QUIET)
    assert (outcome.done, outcome.lost, outcome.used, outcome.ended) == (9, 0, 90, 30)


def test_the_first_come_first_served_order_leaves_no_gpu_idle():
    assert run([5, 1, 1, 1, 3, 3, 3], QUIET).ended == 5


def test_without_checkpoints_a_training_takes_as_long_as_restarts_of_an_exponential_fault_do():
    """A job of length L that starts anew after faults of rate r is expected to take (exp(rL) - 1) / r."""
    rate, length = 1 / 20, 10.0
    cluster = replace(QUIET, nodes=4000, gpus=1, preemptions=rate)
    outcome = run([length] * 4000, cluster)
    assert outcome.used / 4000 == pytest.approx((np.exp(rate * length) - 1) / rate, rel=0.05)
    assert outcome.lost == pytest.approx(outcome.used - 4000 * length)


def test_a_signal_loses_the_start_alone_and_a_dead_node_what_follows_the_last_checkpoint():
    signalled = run([10.0], replace(QUIET, limit=4.0, startup=0.5), checkpoint=0.1)
    # Attempts of 3.5, 3.5 and 3 hours of work
    assert (signalled.done, signalled.events["time limit"], signalled.lost) == (1, 2, 1.5)
    killed = run([100.0], replace(QUIET, nodes=1, node_failures=1 / 10, repair=1.0), checkpoint=0.05)
    assert killed.done == 1
    assert 0 < killed.lost < 5 * killed.events["node failure"]


def test_a_training_longer_than_its_allocation_is_given_up_without_checkpoints_only():
    cluster = replace(QUIET, limit=4.0, retries=3)
    assert (run([10.0], cluster).given_up, run([10.0], cluster).lost) == (1, 16)
    assert run([10.0], cluster, checkpoint=0.1).done == 1


def test_no_hour_is_counted_twice_when_the_month_ends():
    cluster = replace(QUIET, node_failures=1 / 50, preemptions=1 / 50, horizon=200.0)
    outcome = run([30.0] * 60, cluster, checkpoint=0.1)
    assert outcome.lost < outcome.used <= 200 * 4
    assert outcome.done < 60


def test_the_script_prints_its_figures_as_json():
    command = [sys.executable, SCRIPT, "--cells", "60", "--nodes", "2", "--months", "2", "--limits", "72"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = json.loads(printed.splitlines()[-1])["results"][0]["figures"]
    assert figures["with checkpoints"]["GPU-hours lost"][0] < figures["without"]["GPU-hours lost"][0]
