"""Snakemake's SLURM plugin (2.8) with patience: docs/upstream.md has each point, for the day when it needs no help.

Requests are checked before the first submission. A submission that is refused for now is tried again. A job counts as
ended when SLURM says so in any of its words, and when SLURM has forgotten it. Preemption and the failure of a node cost
no attempt, and after a failure the next one has time to be luckier. Outputs that no job has touched stay.
"""

import re
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import snakemake_executor_plugin_slurm as slurm
from snakemake.exceptions import WorkflowError
from snakemake.jobs import Job
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from gumbel.cluster import requests, states
from gumbel.cluster.states import Seen, UnknownError

#: Seconds between two tries of a submission, and between two words about it.
TRY_AGAIN, TELL_AGAIN = 10, 600
#: Seconds before a job that failed is submitted again: a file system that is full or away may come back.
PAUSES = {2: 60, 3: 300, 4: 900}
#: Most seconds between two questions, and fewest.
SELDOM, OFTEN = 120, 5
PLACE = "the top of workflow/profiles/slurm/config.yaml"

#: Refusals that pass: slurmctld, slurmdbd or munge is away or busy, or the queue is full.
_PASSES = re.compile(
    r"unable to contact slurm|connect(ion)? (failure|refused|reset)|timed out|zero bytes|standby mode|munge|"
    r"temporarily|try again|slurmdbd|too many",
    re.IGNORECASE,
)
#: This one passes if jobs of ours fill the queue; else it is about the size of the job.
_POLICY = "job submit limit"

#: Modification times of a job's outputs before it was submitted, of those that were there.
_before: dict[Any, dict[str, int]] = {}


class Executor(slurm.Executor):
    """Submits each job as the plugin does, and asks and decides otherwise what became of it."""

    #: Seconds between two questions; the first comes before :meth:`__post_init__` has ended.
    _seldom: float = OFTEN

    def __post_init__(self, test_mode: bool = False) -> None:
        # Arrays are not used, and a cluster may allow none. How often to ask is decided here
        slurm.get_max_array_size = lambda: 1000
        slurm.get_min_job_age = lambda: 3600
        slurm.validate_status_command_settings = lambda settings, logger: None
        slurm.query_job_status = self._query
        super().__post_init__(test_mode)
        self._seen: dict[str, Seen] = {}
        self._jobs: dict[str, Any] = {}
        self._failed: set[Any] = set()
        self._told: dict[Any, float] = {}
        self._over = Event()
        self._seldom = _question_interval()
        _check_requests(self)

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """As the profile says, or SLURM's choice; whether it is right was asked before the first submission."""
        account = job.resources.get("slurm_account")
        yield f" -A {shlex.quote(str(account))}" if account else ""

    def get_partition_arg(self, job: Any) -> str:
        partition = job.resources.get("slurm_partition")
        return f" -p {shlex.quote(str(partition))}" if partition else ""

    def _submit_job(self, job: Any) -> None:
        if job in self._failed:
            self._failed.remove(job)
            self.run_job_pre(job)
            self._submit_later(job, PAUSES.get(job.attempt, max(PAUSES.values())))
        else:
            super()._submit_job(job)

    def run_job(self, job: Any) -> None:
        _before[job] = _times(job)
        super().run_job(job)

    def _report_job_submission_threadsafe(self, job_info: Any) -> None:
        self._jobs[job_info.external_jobid] = job_info.job
        super()._report_job_submission_threadsafe(job_info)

    def _report_job_error_threadsafe(self, job_info: Any, msg: str) -> None:
        """A submission was refused."""
        words = msg.partition("    sbatch call:")[0].strip()
        passes = _PASSES.search(words) or (_POLICY in words and _have_jobs())
        if passes and not self._over.is_set():
            self._tell(_POLICY if _POLICY in words else "", f"SLURM takes no job now and is asked again: {words}")
            self._submit_later(job_info.job, TRY_AGAIN)
        else:
            super()._report_job_error_threadsafe(job_info, words)

    def _submit_later(self, job: Any, seconds: float) -> None:
        def wait() -> None:
            if not self._over.wait(seconds):
                self._job_submission_executor.submit(self.run_job, job)

        Thread(target=wait, daemon=True, name=f"submits {job} later").start()

    async def _query(self, command: str, logger: Any) -> tuple[dict[str, str], float]:
        """State of each job in the words that the plugin understands; in place of its ``query_job_status``."""
        started, jobs = time.time(), dict(self._jobs)
        try:
            found = states.queue(shlex.split(command)[-1])
        except UnknownError as error:
            self._tell("queue", f"SLURM does not answer and is asked again: {error}")
            return dict.fromkeys(jobs, "RUNNING"), time.time() - started
        forgotten = [job for job in jobs if job not in found]
        if forgotten:
            found |= states.accounted(forgotten)
        for job in forgotten:
            # Neither slurmctld nor the accounting knows it: what it was to write tells
            found.setdefault(job, Seen("done" if _has_written(jobs[job]) else "cancelled"))
        for job, seen in found.items():
            if seen.never and job in jobs:
                self._tell(job, f"SLURM job {job} ({jobs[job]}) will not start as it is: {seen.never}; see {PLACE}")
        self._seen |= found
        words = {"done": "COMPLETED", "active": "RUNNING", "cancelled": "CANCELLED"}
        return {job: words.get(seen.state, "FAILED") for job, seen in found.items()}, time.time() - started

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        async for job_info in super().check_active_jobs(active_jobs):
            yield job_info
        seconds = self.next_seconds_between_status_checks  # type: ignore[has-type]
        self.next_seconds_between_status_checks = min(seconds, self._seldom)

    def report_job_success(self, job_info: Any) -> None:
        self._jobs.pop(job_info.external_jobid, None)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: Any, msg: str | None = None, **kwargs: Any) -> None:
        job, number = job_info.job, job_info.external_jobid
        self._jobs.pop(number, None)
        if number in self._seen:
            state = self._seen[number].state
            log = job_info.aux.get("slurm_logfile")
            if state in ("failed", "cancelled") and log and log.exists() and states.ran_out_of_memory(log.read_bytes()):
                state = "out of memory"
            msg = f"SLURM job {number}: {state}. "
            if state == "failed":
                self._failed.add(job)
            elif state in ("preempted", "node failed"):
                job.attempt -= 1  # no fault of the job's
            elif state in ("out of memory", "out of time"):
                kind: requests.Kind = "memory" if state == "out of memory" else "time"
                requests.ran_out(kind, job.wildcards, map(str, job.input))
        super().report_job_error(job_info, msg, **kwargs)

    def shutdown(self) -> None:
        self._over.set()
        super().shutdown()

    def _tell(self, about: Any, words: str) -> None:
        """Warn of something that lasts, now and again."""
        if time.monotonic() - self._told.get(about, -TELL_AGAIN) >= TELL_AGAIN:
            self._told[about] = time.monotonic()
            self.logger.warning(words)


def install() -> None:
    """Let ``--executor slurm`` be :class:`Executor`, and outputs that no job has touched stay after a failure."""
    ExecutorPluginRegistry().get_plugin("slurm").executor = Executor
    cleanup = Job.cleanup

    async def cleanup_of_what_ran(self: Any, skip_outputs: Any) -> None:
        if self not in _before or _times(self) != _before[self]:
            await cleanup(self, skip_outputs)

    Job.cleanup = cleanup_of_what_ran


def _times(job: Any) -> dict[str, int]:
    return {path: Path(path).stat().st_mtime_ns for path in map(str, job.output) if Path(path).exists()}


def _has_written(job: Any) -> bool:
    """Whether every output of a submitted job is there and other than before."""
    now = _times(job)
    return all(str(path) in now and now[str(path)] != _before[job].get(str(path)) for path in job.output)


def _have_jobs() -> bool:
    try:
        return bool(states.ask("squeue", "--me", "--noheader", "--format=%i").strip())
    except UnknownError:
        return True


def _question_interval() -> float:
    """Seconds between two questions in which slurmctld forgets no ended job."""
    try:
        found = re.search(r"MinJobAge\s*=\s*(\d+)", states.ask("scontrol", "show", "config"))
    except UnknownError:
        return OFTEN
    age = int(found[1]) if found else 0
    return min(SELDOM, max(OFTEN, age / 3)) if age else SELDOM


def _check_requests(executor: Any) -> None:
    """Ask SLURM whether it would take a job of each kind, before the first is submitted.

    Raises:
        WorkflowError: it refuses one for good.
    """
    refused: dict[str, list[str]] = {}
    asked: set[str] = set()
    for job in executor.workflow.dag.needrun_jobs():
        if job.is_group() or job.is_local:
            continue
        fixed = dict(run_uuid="check", slurm_logfile="/dev/null", comment_str="check", workdir=None)
        places = dict(account=next(executor.get_account_arg(job)), partition=executor.get_partition_arg(job))
        call = get_submit_command(job, fixed | places, settings=executor.workflow.executor_settings)
        call = f"{call}{set_gres_string(job)} --test-only --wrap=true"
        if call in asked:
            continue
        asked.add(call)
        try:
            states.ask(*shlex.split(call))
        except UnknownError as error:
            words = re.sub(r"^(sbatch|allocation failure|error|: )+", "", str(error).strip())
            if _PASSES.search(words):
                return
            if _POLICY not in words or not _have_jobs():
                refused.setdefault(words.partition("\n")[0], []).append(job.rule.name)
    if refused:
        found = "; ".join(f"{words!r} for {', '.join(sorted(set(rules)))}" for words, rules in refused.items())
        raise WorkflowError(
            f"expected SLURM to take every kind of job, found {found}; correct account, partitions, qos, constraint or "
            f"sizes at {PLACE}. Nothing was submitted, and no file removed."
        )
