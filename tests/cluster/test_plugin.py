"""What is made of SLURM's answers and refusals: jobs that end, submissions that are tried again, outputs that stay."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as slurm
from snakemake.jobs import Job

from gumbel.cluster import plugin, states
from gumbel.cluster.states import Seen


class FakeJob:
    """As much of a job as the executor looks at."""

    attempt = 1

    def __init__(self, *output: str):
        self.output = list(output)


class Info:
    def __init__(self, job: FakeJob, number: str | None = None):
        self.job, self.external_jobid, self.aux = job, number, {}


class Pool:
    """Runs at once what is submitted."""

    @staticmethod
    def submit(function, *arguments):
        function(*arguments)


@pytest.fixture
def executor(monkeypatch) -> plugin.Executor:
    found = object.__new__(plugin.Executor)
    found._seen, found._jobs, found._told, found._failed = {}, {}, {}, set()
    found._over, found.logger, found._job_submission_executor = Event(), logging.getLogger("test"), Pool
    monkeypatch.setattr(plugin, "_before", {})
    return found


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns, in a thread of its own: other tests of the process may have left a loop running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def ask(executor: plugin.Executor) -> dict[str, str]:
    return finished(executor._query("squeue --noheader --name run", None))[0]


def submitted(executor: plugin.Executor, number: str, job: FakeJob) -> FakeJob:
    plugin._before[job] = plugin._times(job)
    executor._jobs[number] = job
    return job


def test_every_end_is_one_that_the_plugin_understands(executor, monkeypatch):
    seen = dict(enumerate(["active", "done", "cancelled", "preempted", "node failed", "out of time", "out of memory"]))
    monkeypatch.setattr(states, "queue", lambda name: {str(key): Seen(state) for key, state in seen.items()})
    assert list(ask(executor).values()) == ["RUNNING", "COMPLETED", "CANCELLED", *["FAILED"] * 4]


def test_a_job_that_slurmctld_forgot_is_looked_up_in_the_accounting(executor, monkeypatch):
    monkeypatch.setattr(states, "queue", lambda name: {})
    monkeypatch.setattr(states, "accounted", lambda jobs: {"7": Seen("out of time")})
    submitted(executor, "7", FakeJob())
    assert ask(executor) == {"7": "FAILED"}


def test_of_a_job_that_nobody_knows_its_outputs_tell(executor, monkeypatch, tmp_path):
    """One that wrote everything, one that wrote half, and one that never touched what stood there."""
    monkeypatch.setattr(states, "queue", lambda name: {})
    monkeypatch.setattr(states, "accounted", lambda jobs: {})
    files = [str(tmp_path / name) for name in "abcde"]
    for number, own in (("1", files[:2]), ("2", files[2:4]), ("3", files[4:])):
        (tmp_path / own[0]).write_text("old")
        os.utime(own[0], (1, 1))
        submitted(executor, number, FakeJob(*own))
    for path in files[:3]:
        with open(path, "w") as file:
            file.write("new")
    assert ask(executor) == {"1": "COMPLETED", "2": "CANCELLED", "3": "CANCELLED"}


def test_while_slurmctld_is_silent_every_job_goes_on(executor, monkeypatch):
    def silent(name):
        raise states.UnknownError("connect failure")

    monkeypatch.setattr(states, "queue", silent)
    submitted(executor, "7", FakeJob())
    assert ask(executor) == {"7": "RUNNING"}


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: If munged is up, restart with --num-threads=10",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
        "accounting/QOS policy (job submit limit, user's size and/or time limits)",
    ],
)
def test_what_passes_is_submitted_again(executor, monkeypatch, words):
    again = Event()
    monkeypatch.setattr(plugin, "TRY_AGAIN", 0)
    monkeypatch.setattr(plugin, "_have_jobs", lambda: True)
    monkeypatch.setattr(plugin.Executor, "run_job", lambda self, job: again.set())
    executor._report_job_error_threadsafe(
        Info(FakeJob()), f"SLURM sbatch failed. '{words}'\n    sbatch call:\n  sbatch"
    )
    assert again.wait(10)


@pytest.mark.parametrize(
    ("words", "jobs"),
    [("Requested node configuration is not available", True), ("Job violates policy (job submit limit, ...)", False)],
)
def test_what_does_not_pass_is_an_error(executor, monkeypatch, words, jobs):
    reported = []
    monkeypatch.setattr(plugin, "_have_jobs", lambda: jobs)
    report = "_report_job_error_threadsafe"
    monkeypatch.setattr(slurm.Executor, report, lambda self, job_info, msg: reported.append(msg))
    executor._report_job_error_threadsafe(
        Info(FakeJob()), f"SLURM sbatch failed. '{words}'\n    sbatch call:\n  sbatch"
    )
    assert reported == [f"SLURM sbatch failed. '{words}'"]


@pytest.mark.parametrize(
    ("state", "attempt", "waits"), [("preempted", 0, False), ("node failed", 0, False), ("failed", 1, True)]
)
def test_preemption_costs_no_attempt_and_a_failure_a_pause(executor, monkeypatch, state, attempt, waits):
    monkeypatch.setattr(slurm.Executor, "report_job_error", lambda self, job_info, msg, **_: None)
    job = submitted(executor, "7", FakeJob())
    executor._seen["7"] = Seen(state)
    executor.report_job_error(Info(job, "7"))
    assert (job.attempt, job in executor._failed) == (attempt, waits)


def test_outputs_that_a_failed_job_has_not_touched_stay(monkeypatch, tmp_path):
    removed = []

    async def cleanup(self, skip_outputs):
        removed.append(self)

    monkeypatch.setattr(Job, "cleanup", cleanup)
    monkeypatch.setattr(plugin, "_before", {})
    plugin.install()
    never_ran, ran, local = (FakeJob(str(tmp_path / name)) for name in ("never_ran", "ran", "local"))
    for job in (never_ran, ran, local):
        (tmp_path / job.output[0]).write_text("old")
        os.utime(job.output[0], (1, 1))
    for job in (never_ran, ran):
        plugin._before[job] = plugin._times(job)
    (tmp_path / "ran").write_text("half")
    for job in (never_ran, ran, local):
        finished(Job.cleanup(job, []))
    assert removed == [ran, local]


def test_questions_are_so_frequent_that_no_job_is_forgotten_between_two(monkeypatch):
    for age, seconds in ((300, 100), (60, 20), (3, 5), (0, plugin.SELDOM)):
        monkeypatch.setattr(states, "ask", lambda *command, age=age: f"MessageTimeout = 10\nMinJobAge = {age} sec\n")
        assert plugin._question_interval() == seconds
