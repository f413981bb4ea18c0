"""What SLURM says of jobs, in all its words, and when it says nothing."""

import pytest

from gumbel.cluster import states
from gumbel.cluster.states import Seen


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """``answers("squeue", text)``: a command that prints ``text``, or fails where it is None."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for command in ("squeue", "sacct"):
        (tmp_path / command).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / command).chmod(0o755)

    def answer(command: str, text: str | None) -> None:
        (tmp_path / f"{command}.txt").write_text(text or "")
        script = f"#!/bin/sh\ncat {tmp_path}/{command}.txt\nexit {int(text is None)}\n"
        (tmp_path / command).write_text(script)

    return answer


def test_slurmctld_tells_of_waiting_running_and_ended_jobs_and_of_those_that_cannot_start(answers):
    rows = [
        "1|PENDING|Priority",
        "2|PENDING|PartitionTimeLimit",
        "3|PENDING|QOSMaxJobsPerUserLimit",
        "4|PENDING|QOSMaxWallDurationPerJobLimit",
        "5|RUNNING|None",
        "6|COMPLETED|None",
        "7|PREEMPTED|None",
        "8|COMPLETING|None",
    ]
    answers("squeue", "\n".join(rows) + "\n")
    assert states.queue("run") == {
        "1": Seen("active"),
        "2": Seen("active", "PartitionTimeLimit"),
        "3": Seen("active"),
        "4": Seen("active", "QOSMaxWallDurationPerJobLimit"),
        "5": Seen("active"),
        "6": Seen("done"),
        "7": Seen("preempted"),
        "8": Seen("active"),
    }


def test_where_slurmctld_does_not_answer_nothing_is_concluded(answers):
    with pytest.raises(states.UnknownError):
        states.queue("run")


def test_the_accounting_tells_of_ended_jobs_alone(answers):
    answers("sacct", "1|CANCELLED by 2001\n2|OUT_OF_MEMORY\n3|RUNNING\n4|NODE_FAIL\n")
    assert states.accounted(["1", "2", "3", "4"]) == {
        "1": Seen("cancelled"),
        "2": Seen("out of memory"),
        "4": Seen("node failed"),
    }


def test_without_accounting_it_tells_nothing(answers):
    assert states.accounted(["1"]) == {}


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch cgroup.",
        "slurmstepd: error: Exceeded job memory limit",
    ],
)
def test_a_log_tells_that_memory_ran_out(line):
    assert states.ran_out_of_memory(f"before\n{line}\n".encode())
    assert not states.ran_out_of_memory(b"ValueError: expected a file\n")
