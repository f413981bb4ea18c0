"""What a job asks of the SLURM that runs it."""

import os
import subprocess

from gumbel.jobs.terminal import say


def requeue() -> None:
    """Put this process's SLURM job back into the queue, where it keeps its id; nothing where there is none.

    SLURM ends what still runs of the job. Where it refuses (an interactive job, or a cluster that allows no requeue)
    the job ends as it would have.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    except OSError as error:
        say(f"SLURM job {job} was not requeued: {error}")
    else:
        say(f"SLURM job {job} " + (f"was not requeued: {done.stderr.strip()}" if done.returncode else "is requeued"))
