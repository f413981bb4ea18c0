"""The table of costs adds up, and the published training that estimates rest on is what its log says."""

from dataclasses import replace

import pytest

from gumbel.preflight import costs

COST = costs.Cost("a", 10, 40, 1, 5, 1e9, 1e6, 1e9, 7200.0, measured=False)


def test_the_published_training_took_55_gpu_hours():
    """12 epochs of 6,213 iterations of 0.67 s on 4 GPUs, each of which computes 4 images in that time."""
    known = costs.published()
    assert known.gpu_hours == pytest.approx(12 * 6213 * 0.67 * 4 / 3600)
    assert 54 < known.gpu_hours < 57
    assert known.memory_bytes == pytest.approx(8601 * 2**20, rel=1e-4)
    assert known.sustained == pytest.approx(3 * 617.1e9 * 4 / 0.67, rel=1e-3)


def test_the_table_adds_up_and_no_number_of_gpus_is_faster_than_the_longest_training():
    text = costs.table([COST, replace(COST, cell="b", seconds=3600.0)], seeds=2, trial=None)
    assert "2 trainings x 2 seeds: 6.00 GPU-hours" in text
    assert "1 GPUs 6.0 h, 4 GPUs 2.0 h, 8 GPUs 2.0 h" in text
    assert [line.split()[-1] for line in text.splitlines()[1:3]] == ["estimated", "estimated"]


def test_what_is_estimated_runs_at_the_speed_of_what_was_measured():
    measured = replace(COST, measured=True)
    twice = replace(COST, flops=2 * COST.flops, seconds=1.0)
    assert costs.calibrated([measured, twice])[1].seconds == pytest.approx(2 * measured.seconds)
    assert costs.calibrated([COST, twice]) == [COST, twice]
