"""Each fault of a cluster, on a real SLURM: what happens, and that the result is the undisturbed one, bit by bit.

``make faults FAULT_NOTES=faults.jsonl`` notes what happened; ``python -m tests.slurm.table
faults.jsonl`` makes the table of docs/reliability.md of it.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.slurm.cluster import PATIENCE, Cluster, run, wait_for

pytestmark = pytest.mark.slow


def requests(output: str, rule: str) -> list[dict[str, int]]:
    """Memory and time that Snakemake's output names for each submission of a rule."""
    blocks = re.findall(rf"^rule {rule}:\n(.*?)^\S", output, re.MULTILINE | re.DOTALL)
    return [{key: int(value) for key, value in re.findall(r"(mem_mb|runtime)=(\d+)", block)} for block in blocks]


def preempt(cluster: Cluster, job: str) -> None:
    """Have a job of a higher partition take the whole node of ``job``."""
    node = cluster.jobs()[job]["node"]
    run("sbatch", "--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")


#: How long slurmctld is away, in seconds.
OUTAGE = 60


def test_a_training_over_its_time_limit_saves_itself_and_goes_on_in_the_next_allocation(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    job = cluster.job("train")
    # SLURM warns 5 minutes before the end, and looks twice a minute whether to
    cluster.set_time_limit(job, minutes_from_now=5)
    workspace.resume_when_told(training, signal.SIGUSR1)
    psutil.wait_procs([training], timeout=120 * PATIENCE)
    # The next allocation is not to be warned before it has begun to train
    cluster.set_time_limit(job, minutes_from_now=60)
    output = workspace.finish(snakemake)
    first, second, *_ = workspace.attempts()
    assert (first["ended"], second["first"]) == ("interrupted", first["last"])
    assert len({attempt["slurm_job"] for attempt in workspace.attempts()}) == 1
    assert "Trying to restart job" not in output, "an attempt of Snakemake's is used up"
    survived("job over its time limit", f"warned by SIGUSR1, saved and requeued itself: {workspace.story()}")


def test_a_job_over_its_memory_comes_back_with_more(workspace, survived):
    workspace.edit_profile("train", "mem_mb", '?grown("memory", None, 400)')
    output = workspace.run(workspace.target)
    asked = requests(output, "train")
    memories, minutes = ({request[key] for request in asked} for key in ("mem_mb", "runtime"))
    assert memories == {400 * (1 + each) for each in range(len(asked))}
    assert len(minutes) == 1, "time does not grow"
    assert "out of memory" in output
    survived("job over its memory", f"killed by SLURM, resubmitted with more, time as before: {workspace.story()}")


def test_a_cancelled_job_is_submitted_again_as_it_was(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    run("scancel", cluster.job("train"))
    workspace.resume_when_told(training, signal.SIGTERM)
    output = workspace.finish(snakemake)
    assert "cancelled" in output
    first, second = requests(output, "train")
    assert first == second
    survived("scancel", f"cancelled, resubmitted as it was: {workspace.story()}")


def test_a_requeued_job_goes_on(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    job = cluster.job("train")
    run("scontrol", "requeue", job)
    workspace.resume_when_told(training, signal.SIGTERM)
    workspace.finish(snakemake)
    assert {attempt["slurm_job"] for attempt in workspace.attempts()} == {job}
    survived("scontrol requeue", f"the same job again: {workspace.story()}")


def test_a_preempted_job_goes_on(workspace, cluster, survived):
    snakemake = workspace.start(workspace.target)
    training = workspace.pause_training()
    job = cluster.job("train")
    preempt(cluster, job)
    workspace.resume_when_told(training, signal.SIGTERM)
    workspace.finish(snakemake)
    assert {attempt["slurm_job"] for attempt in workspace.attempts()} == {job}
    survived("preemption by a higher partition", f"requeued by SLURM: {workspace.story()}")


def test_a_job_that_preemption_cancels_is_submitted_again_without_using_up_an_attempt(workspace, cluster, survived):
    workspace.set_cluster(gpu_partition="scavenge")
    snakemake = workspace.start(workspace.target, "--retries", "0")
    training = workspace.pause_training()
    preempt(cluster, cluster.job("train"))
    workspace.resume_when_told(training, signal.SIGTERM)
    # The killed process is not the training's first attempt at being tried again: there are no retries
    output = workspace.finish(snakemake)
    assert "preempted" in output
    survived("preemption that cancels (PreemptMode=CANCEL)", f"resubmitted, no attempt used up: {workspace.story()}")


def test_refused_submissions_are_tried_again_until_slurmctld_is_back(workspace, cluster, survived):
    cluster.stop_controller()
    snakemake = workspace.start(workspace.target)
    time.sleep(OUTAGE)
    assert snakemake.poll() is None
    cluster.start_controller()
    output = workspace.finish(snakemake)
    assert "asked again" in output
    assert "Trying to restart job" not in output
    survived("slurmctld gone when a job is submitted", f"asked again every 10 seconds: {workspace.story()}")


def test_a_full_queue_is_waited_for(workspace, cluster, survived):
    """The other cell's training is at the limit of one job, this one's comes after it."""
    if cluster.kind == "simple":
        pytest.skip("limits need accounting")
    workspace.set_cluster(account="vision", qos="tiny")
    workspace.forget_cell("sigmoid")
    others = str(workspace.cell_of("sigmoid").checkpoint.relative_to(workspace.folder))
    output = workspace.run(workspace.target, others)
    assert "submit limit" in output
    assert "Trying to restart job" not in output
    survived("more jobs than the QOS lets submit", f"asked again until there was room: {workspace.story()}")


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
    survived("slurmctld gone for a minute", f"Snakemake waited: {workspace.story()}")


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


def test_a_prediction_that_is_killed_goes_on_behind_its_finished_parts(workspace, cluster, survived):
    """Parts of one image; killed when all but one of the six are there."""
    code = workspace.folder / "gumbel" / "detection" / "predict.py"
    code.write_text(re.sub(r"^PART = \d+$", "PART = 1", code.read_text(), flags=re.MULTILINE))
    predictions = workspace.cell.predictions("val", "matched")
    metrics = workspace.cell.metrics("val", "matched")
    snakemake = workspace.start(str(metrics.relative_to(workspace.folder)))

    def parts() -> dict[str, int]:
        return {
            path.name: path.stat().st_mtime_ns for path in predictions.parent.glob(f".{predictions.name}.*/*.parquet")
        }

    wait_for(lambda: len(parts()) >= 5, "five parts", 300, interval=0.01)
    run("scancel", "--full", "--signal=KILL", cluster.job("predict"))
    wait_for(lambda: not cluster.jobs("RUNNING"), "the prediction is killed", 30)
    kept, seen = parts(), dict[str, int]()
    while snakemake.poll() is None and not predictions.exists():
        with contextlib.suppress(FileNotFoundError):  # joined in this moment
            seen |= parts()
        time.sleep(0.01)
    assert seen.items() >= kept.items()
    workspace.finish(snakemake)
    survived("prediction killed near its end", "resubmitted, went on behind its finished parts; same figures")


def test_a_kill_between_predictions_and_metrics_costs_the_evaluation_alone(workspace, cluster, survived):
    metrics = workspace.cell.metrics("val", "matched")
    snakemake = workspace.start(str(metrics.relative_to(workspace.folder)))
    job = cluster.job("evaluate", seconds=400)
    predicted = workspace.cell.predictions("val", "matched").stat().st_mtime_ns
    run("scancel", job)
    workspace.finish(snakemake)
    assert workspace.cell.predictions("val", "matched").stat().st_mtime_ns == predicted
    survived("killed between predictions and metrics", "evaluated again, not predicted again")


def test_two_checkouts_with_one_results_folder_train_once(workspace, cluster, survived, tmp_path):
    other = workspace.copy(tmp_path / "other", cluster)
    shutil.rmtree(other.folder / "results")
    (other.folder / "results").symlink_to(workspace.folder / "results")
    first = workspace.start(workspace.target)
    training = workspace.pause_training()
    second = other.start(workspace.target)
    wait_for(lambda: len(cluster.jobs("RUNNING")) == 2, "both train", 120)
    training.resume()
    workspace.finish(first)
    other.finish(second)
    assert len(workspace.attempts()) == 1
    survived("two checkouts, one results folder", "the second training waited for the first and took its result")


def test_a_full_file_system_costs_an_attempt(workspace, survived):
    folder = workspace.cell.work_dir
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], check=True)
    try:
        snakemake = workspace.start(workspace.target)
        log = workspace.cell.log("train")
        wait_for(lambda: log.exists() and "No space left" in log.read_text(), "the training finds no space", 120)
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        wait_for(lambda: not workspace.trainings(), "it ends", 60)
        failed = time.monotonic()
        wait_for(workspace.trainings, "it is tried again", 180)
        assert time.monotonic() - failed > 55, "no attempt is used up within the first minute"
        workspace.finish(snakemake)
        survived(
            "file system full",
            "failed with the path and `No space left on device`; resubmitted a minute later, with space again",
        )
    finally:
        workspace.end()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_an_output_that_appears_late_is_waited_for(workspace, survived):
    """As on a network file system: seconds after the job that wrote it has ended."""
    snakemake = workspace.start(workspace.target)
    weights, elsewhere = workspace.cell.checkpoint, workspace.folder / "late.pth"
    wait_for(weights.exists, "the weights", 180, interval=0.005)
    weights.rename(elsewhere)
    wait_for(lambda: not workspace.trainings(), "the training ends", 60)
    time.sleep(4)
    elsewhere.rename(weights)
    output = workspace.finish(snakemake)
    assert "Trying to restart job" not in output
    survived("output that appears late", f"waited for (`latency-wait`): {workspace.story()}")


def test_a_clock_that_is_off_runs_nothing_twice(workspace, survived):
    """Weights an hour older than what they are made from, then an hour newer than what is made from them."""
    snakemake = workspace.start(workspace.target)
    weights = workspace.cell.checkpoint
    metrics = str(workspace.cell.metrics("val", "matched").relative_to(workspace.folder))
    wait_for(weights.exists, "the weights", 180, interval=0.005)
    os.utime(weights, (time.time() - 3600,) * 2)
    workspace.finish(snakemake)
    assert "Nothing to be done" in workspace.run(workspace.target)
    os.utime(weights, (time.time() + 3600,) * 2)
    output = workspace.run(metrics, "--retries", "0", status=1)
    log = Path(re.findall(r"\S+/slurm_logs/rule_predict/\S+\.log", output)[0])
    assert f"than input {weights.relative_to(workspace.folder)}" in log.read_text()
    weights.touch()
    workspace.run(metrics)
    assert "Nothing to be done" in workspace.run(metrics)
    survived(
        "clock an hour behind or ahead",
        f"behind: nothing was run again; ahead: the next job failed and named both times, made again after "
        f"`touch`: {workspace.story()}",
    )


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
