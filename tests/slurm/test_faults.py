"""Each fault of a cluster, on a real SLURM: what happens, and that the result is the undisturbed one, bit by bit.

``make faults FAULT_NOTES=faults.jsonl`` notes what happened; ``python -m tests.slurm.table
faults.jsonl`` makes the table of docs/reliability.md of it.
"""

import os
import signal
import subprocess
import time

import pytest

from tests.slurm.cluster import run, wait_for

pytestmark = pytest.mark.slow

#: How long slurmctld is away, in seconds.
OUTAGE = 60


def test_a_training_over_its_time_limit_saves_itself_and_goes_on_in_the_next_allocation(workspace, survived):
    # Limits are whole minutes, and SLURM may warn up to one minute early
    workspace.edit_profile("train", "runtime", "2 if attempt == 1 else 30")
    workspace.edit_profile("train", "slurm_extra", "\"'--signal=USR1@30'\"")
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    # SLURM's warning comes with a SIGCONT
    wait_for(lambda: training.pid not in [each.pid for each in workspace.trainings()], "the training stops", 150)
    output = workspace.finish(snakemake)
    first, second = workspace.attempts()
    assert (first["ended"], second["first"]) == ("interrupted", first["last"])
    assert "TIMEOUT" not in output
    assert "Trying to restart job" in output
    survived("job over its time limit", f"warned by SIGUSR1, saved itself, resubmitted: {workspace.story()}")


def test_a_job_over_its_memory_comes_back_with_more(workspace, survived):
    workspace.edit_profile("train", "mem_mb", "600 if attempt == 1 else 8000")
    output = workspace.run(workspace.target)
    assert "OUT_OF_MEMORY" in output or "FAILED" in output or "CANCELLED" in output
    survived("job over its memory", f"killed by SLURM, resubmitted with more: {workspace.story()}")


def test_a_cancelled_job_is_submitted_again(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    workspace.pause_training()
    run("scancel", cluster.job("train"))
    output = workspace.finish(snakemake)
    assert "CANCELLED" in output
    survived("scancel", f"CANCELLED, resubmitted: {workspace.story()}")


def test_a_requeued_job_goes_on(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    workspace.pause_training()
    job = cluster.job("train")
    run("scontrol", "requeue", job)
    workspace.finish(snakemake)
    assert {attempt["slurm_job"] for attempt in workspace.attempts()} == {job}
    survived("scontrol requeue", f"the same job again: {workspace.story()}")


def test_a_preempted_job_goes_on(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    workspace.pause_training()
    job = cluster.job("train")
    node = cluster.jobs()[job]["node"]
    run("sbatch", "--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    workspace.finish(snakemake)
    assert {attempt["slurm_job"] for attempt in workspace.attempts()} == {job}
    survived("preemption by a higher partition", f"requeued by SLURM: {workspace.story()}")


def test_a_job_of_a_node_that_goes_down_goes_on_elsewhere(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    workspace.pause_training()
    job = cluster.job("train")
    node = cluster.jobs()[job]["node"]
    # A node that is only set down comes back as soon as its slurmd answers
    for state in ("drain", "down"):
        run("scontrol", "update", f"nodename={node}", f"state={state}", "reason=test")
    wait_for(lambda: cluster.job("train") and cluster.jobs()[job]["node"] not in ("", node), "it runs elsewhere", 120)
    workspace.finish(snakemake)
    survived("node set down", f"requeued by SLURM on the other node: {workspace.story()}")


def test_a_job_that_outlives_its_slurmd_stays_the_only_writer(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    job = cluster.job("train")
    node = cluster.jobs()[job]["node"]
    cluster.stop_node(node, signal.SIGKILL)
    # SLURM takes the node for dead and starts the job elsewhere, while the first training lives
    wait_for(lambda: len(workspace.trainings()) == 2, "the job starts again elsewhere", 180)
    assert training.is_running()
    training.resume()
    workspace.finish(snakemake)
    assert len(workspace.attempts()) == 1
    survived(
        "slurmd killed, its job alive",
        "requeued elsewhere; the second training waited for the first and took its result",
    )


def test_an_outage_of_slurmctld_is_waited_for(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    cluster.stop_controller()
    training.resume()
    time.sleep(OUTAGE)
    assert snakemake.poll() is None
    cluster.start_controller()
    workspace.finish(snakemake)
    survived("slurmctld gone for a minute, no accounting", f"Snakemake waited: {workspace.story()}")


def test_sigint_cancels_the_jobs_and_the_next_run_goes_on(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    workspace.pause_training()
    os.killpg(snakemake.pid, signal.SIGINT)
    workspace.finish(snakemake, status=1)
    wait_for(lambda: not cluster.jobs(), "the jobs are cancelled", 60)
    workspace.run(workspace.target)
    survived("snakemake: SIGINT", f"its jobs were cancelled; the next run went on: {workspace.story()}")


def test_sigterm_lets_running_jobs_finish(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    snakemake.terminate()
    training.resume()
    workspace.finish(snakemake, status=1)
    again = workspace.run(workspace.target)
    assert "Nothing to be done" in again
    survived("snakemake: SIGTERM", f"waited for its jobs, started no others; nothing to repeat: {workspace.story()}")


def test_a_job_that_outlives_a_killed_snakemake_is_adopted(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.communicate()
    workspace.unlock()
    snakemake = workspace.start(workspace.target)
    wait_for(lambda: len(workspace.trainings()) == 2, "a second job starts", 120)
    training.resume()
    workspace.finish(snakemake)
    assert len(workspace.attempts()) == 1
    survived("snakemake: kill -9", "--unlock, then the next run's job waited for the orphan and took its result")


def test_a_full_file_system_costs_an_attempt(workspace, survived):
    folder = workspace.cell.work_dir
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], check=True)
    try:
        snakemake = workspace.start(workspace.target)
        log = workspace.cell.log("train")
        wait_for(lambda: log.exists() and "No space left" in log.read_text(), "the training finds no space", 120)
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        workspace.finish(snakemake)
        survived(
            "file system full", "failed with the path and `No space left on device`, resubmitted after space was freed"
        )
    finally:
        workspace.end()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_truncated_output_is_named_and_made_again(workspace, survived):
    metrics = str(workspace.cell.metrics("val", "matched").relative_to(workspace.folder))
    predictions = workspace.cell.predictions("val", "matched")
    workspace.run(str(predictions.relative_to(workspace.folder)))
    predictions.write_bytes(predictions.read_bytes()[:-100])
    workspace.run(metrics, "--retries", "0", status=1)
    log = workspace.cell.log("evaluate_val_matched").read_text()
    assert predictions.name in log
    predictions.unlink()
    workspace.run(metrics)
    survived("output truncated on disk", "the next job failed and named the file; made again after it was removed")


def test_a_corrupt_checkpoint_is_passed_over(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    wait_for(lambda: len(workspace.checkpoints()) == 2, "two checkpoints", 120, interval=0.02)
    training = workspace.pause_training()
    training.kill()
    older, newest = workspace.checkpoints()[-2:]
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    newest.write_bytes(damaged)
    workspace.finish(snakemake)
    _, second = workspace.attempts()
    assert f"iter_{second['first']}.pth" == older.name
    survived("corrupt checkpoint", f"named, removed, and the one before it used: {workspace.story()}")


def test_a_second_snakemake_is_refused(workspace, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    refused = workspace.run(workspace.target, status=1)
    assert "Directory cannot be locked" in refused
    training.resume()
    workspace.finish(snakemake)
    survived("two snakemakes at once", f"the second was refused at once: {workspace.story()}")


def test_a_cell_that_always_fails_leaves_the_others_and_the_page_shows_it(workspace, survived):
    # Where the other cell's training keeps its checkpoints lies a file, which no check before a training looks for
    workspace.forget_cell("sigmoid")
    workspace.cell_of("sigmoid").work_dir.write_text("")
    output = workspace.run("reports/summary.html", "--retries", "1", status=1, seconds=600)
    assert "Trying to restart job" in output
    assert workspace.cell.metrics("val", "matched").exists()
    workspace.run("reports/summary.html", "--config", "allow_missing=true", seconds=600)
    page = (workspace.folder / "reports" / "summary.html").read_text()
    assert "mask_rcnn_r50/sigmoid/seed0/logs/train.log" in page
    assert "found: File exists" in page
    survived(
        "a cell that always fails",
        "tried again, given up; the others finished; the page shows it as failed, with its log",
    )
