"""Train one configuration, from its start or from where it was interrupted."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from gumbel.detection.checkpoints import iteration, latest_checkpoint, save_weights
from gumbel.detection.curves import name_run
from gumbel.detection.failures import explain
from gumbel.detection.hooks import HistoryHook, ReportHook
from gumbel.detection.options import check_launch, resolved
from gumbel.detection.parts import train_dataset, unwrapped
from gumbel.detection.precision import set_float32
from gumbel.detection.processes import Processes
from gumbel.experiment import dependencies
from gumbel.jobs import manifest, signals, slurm, status
from gumbel.jobs.attempts import Attempts
from gumbel.jobs.files import atomic_path
from gumbel.jobs.lock import Claim, LostClaimError, claim
from gumbel.jobs.terminal import say
from gumbel.paths import CellPaths, TrainingPaths

#: What a configuration says beside what decides the weights; of the data loader, how its processes work.
_WITHOUT_EFFECT = ("cell", "default_hooks", "log_level", "log_processor", "test_dataloaders", "visualizer")
_LOADING = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor")


def train(config_path: Path, wait: bool = False) -> None:
    """Train the model of ``config_path``; the files beside it are named by ``TrainingPaths``.

    Writes ``train/checkpoint.pth`` (weights only), ``train/history.parquet`` and ``train/manifest.json``. What a later
    attempt goes on from lies in ``work_dir/<fingerprint>``, so that a checkpoint written for another configuration or
    other data is never taken up; a training that is finished there is not repeated.

    Args:
        config_path: a resolved configuration.
        wait: let a process that is at this training already end first, instead of refusing.

    Raises:
        FileNotFoundError: annotations or the warm start are missing.
        FloatingPointError: the loss is not finite, or diverges.
        MemoryError, TimeoutError: too little memory, or no data.
        SystemExit: with 128 + the signal's number, after a checkpoint, on SIGTERM, SIGUSR1 or SIGINT. On SIGUSR1
            the SLURM job is requeued before.
        ValueError: another process is at this training.
    """
    config = Config.fromfile(config_path)
    paths = TrainingPaths(config_path.parent)
    with signals.heeded():
        processes = Processes()
        check_launch(config, processes.number)
        with _claimed(paths, wait) if processes.rank == 0 else nullcontext() as held:
            try:
                _attempt(config_path, config, processes, held)
            except LostClaimError:
                raise
            except Exception as error:
                clearer = explain(error, config)
                _record_failure(paths, processes, clearer)
                raise clearer from error


@contextmanager
def _claimed(paths: TrainingPaths, wait: bool) -> Iterator[Claim]:
    """The claim on the training's folder; while waiting for it, who holds it is told once a minute."""
    told = -float("inf")

    def poll(pid: int, host: str) -> None:
        nonlocal told
        if received := signals.received():
            raise SystemExit(signals.exit_code(received))
        if time.monotonic() - told >= 60:
            told = time.monotonic()
            say(f"{paths.root}: waits for {_holder(paths, pid, host)}")

    with claim(paths.lock, wait=wait, work=f"the training {paths.root}", poll=poll) as held:
        yield held


def _holder(paths: TrainingPaths, pid: int, host: str) -> str:
    state = status.read(paths.status)
    if state is None or state.pid != pid:
        return f"process {pid} on {host}"
    job = f" (SLURM job {state.slurm_job})" if state.slurm_job else ""
    return f"process {pid} on {host}{job}, which is at iteration {state.iteration} of {state.iterations}"


def _record_failure(paths: TrainingPaths, processes: Processes, error: Exception) -> None:
    """Say in the status why the training failed: the first process that fails knows, the others lose contact."""
    state = status.read(paths.status) or status.Status(state="running")
    if processes.rank > 0 or state.state != "failed":
        message = f"{type(error).__name__}: {error}"
        status.write(paths.status, state.model_copy(update={"state": "failed", "message": message}))


@dataclass(frozen=True)
class Start:
    """Where an attempt at a training begins: found by the first process, which tells it the others."""

    fingerprint: str  #: digest of all that decides the result
    inputs: dict[str, str]  #: SHA-256 of every file that the training starts from
    folder: str  #: for what an attempt leaves to the next
    checkpoint: str | None  #: what to go on from
    finished: bool  #: by an earlier attempt


def _attempt(config_path: Path, config: Config, processes: Processes, held: Claim | None) -> None:
    """Train to the end, to the next signal, or not at all where all is done; the process with the claim writes."""
    history = HistoryHook()
    if held is None:
        start, report = Start(**json.loads(processes.hear())), None
    else:
        record = manifest.Record()
        paths = TrainingPaths(config_path.parent)
        status.write(paths.status, status.Status(state="running", **manifest.place()))
        start = _find_start(config, paths, processes.number)
        if not start.finished:
            shutil.rmtree(paths.curves, ignore_errors=True)  # CurvesHook writes them again from the beginning
        report = None if start.finished else _reporter(start, config, paths, processes.number, history, held)
        processes.tell(json.dumps(asdict(start)))
    if start.finished:
        return
    config.update(work_dir=start.folder, **processes.connect())
    name_run(config, start.fingerprint)
    set_float32(config.precision)
    if start.checkpoint:
        config.update(load_from=start.checkpoint, resume=True)
    runner = Runner.from_cfg(config)
    for hook in [report, history] if report else [history]:
        runner.register_hook(hook)
    runner.train()
    stopped = runner.iter < runner.max_iters
    if report:
        # Before the processes part: when the first of them ends, torchrun ends the others
        _say_stopped(report, runner) if stopped else _finish(start, report, record, runner, config_path)
    processes.leave()
    if stopped:
        # The time limit is near. Without an iteration in between, another allocation of this length would be of no use
        if report and signals.received() == signals.TIME_LIMIT and runner.iter > report.attempts.current.first:
            slurm.requeue()
        raise SystemExit(signals.exit_code(signals.received() or signals.SIGNALS[0]))


def _find_start(config: Config, paths: TrainingPaths, processes: int) -> Start:
    """Where to begin; what an earlier attempt finished is published."""
    inputs = _inputs(config)
    fingerprint = _fingerprint(config, inputs, processes)
    folder = paths.work_dir / fingerprint[:16]
    finished = _adopt(folder, config, paths)
    if not finished:
        _name_others(paths.work_dir, folder)
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(".*.tmp"):  # of a process that was killed while writing
            unfinished.unlink()
    checkpoint = latest_checkpoint(folder)
    going_on_from = str(checkpoint.absolute()) if checkpoint else None
    return Start(fingerprint, inputs, str(folder.absolute()), going_on_from, finished)


def _reporter(
    start: Start, config: Config, paths: TrainingPaths, processes: int, history: HistoryHook, held: Claim
) -> ReportHook:
    """What keeps status and attempts, and notes that this attempt begins."""
    attempts = Attempts(
        Path(start.folder) / "attempts.json",
        first=iteration(Path(start.checkpoint)) if start.checkpoint else 0,
        processes=processes,
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    )
    report = ReportHook(paths.status, history, attempts, held)
    report.report("running", config.train_cfg.max_iters)
    return report


def _finish(start: Start, report: ReportHook, record: manifest.Record, runner: Runner, config_path: Path) -> None:
    """Write the results where no one removes them, publish them, and let go of the checkpoints."""
    report.claim.check()
    report.attempts.write(runner.max_iters, ended="done")
    folder = Path(start.folder)
    finished = CellPaths(folder)
    save_weights(unwrapped(runner.model), finished.checkpoint)
    table = report.history.table()
    with atomic_path(finished.history) as temporary:
        table.to_parquet(temporary, index=False)
    facts = dict(
        config_sha256=manifest.sha256(config_path),
        data_sha256=start.inputs,
        code=dependencies.code(runner.cfg.cell.activation),
        fingerprint=start.fingerprint,
        checkpoint_sha256=manifest.sha256(finished.checkpoint),
        seconds=report.attempts.seconds,
        iteration_seconds=float(table["seconds"].sum()),
        attempts=[attempt.model_dump() for attempt in report.attempts.all],
        resumed_from=start.checkpoint and Path(start.checkpoint).name,
        **resolved(runner),
    )
    report.claim.check()
    record.write(finished.manifest, **facts)
    _publish(folder, runner.cfg, TrainingPaths(config_path.parent))
    report.report("done", runner.max_iters)
    kept = {finished.checkpoint.parent, finished.at("").root}
    for path in folder.iterdir():
        if path not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _adopt(folder: Path, config: Config, paths: TrainingPaths) -> bool:
    """Publish what an earlier attempt finished in ``folder``; whether there was anything."""
    finished = CellPaths(folder)
    if not finished.manifest.exists():
        return False
    record, checkpoint = json.loads(finished.manifest.read_text()), finished.checkpoint
    if not checkpoint.exists() or manifest.sha256(checkpoint) != record["checkpoint_sha256"]:
        say(f"{checkpoint} is damaged: training again")
        shutil.rmtree(folder)
        return False
    say(f"{paths.root} was finished on {record['host']} at {record['finished']}")
    _publish(folder, config, paths)
    length = dict.fromkeys(("iteration", "iterations"), record["iterations"])
    facts = dict(seconds=record["seconds"], attempt=len(record["attempts"]), processes=record["world_size"])
    status.write(paths.status, status.Status(state="done", eta_seconds=0.0, **length, **facts, **manifest.place()))
    return True


def _publish(folder: Path, config: Config, paths: TrainingPaths) -> None:
    """Give the files finished in ``folder`` their names as outputs, without copying where the file system has links."""
    published = CellPaths(paths.root)
    snapshots = [percent for hook in config.custom_hooks if hook.type == "SnapshotHook" for percent in hook.percents]
    checkpoints = [published.checkpoint, *(published.at(percent).checkpoint for percent in snapshots)]
    for target in (*checkpoints, published.history, published.manifest):
        source = folder / target.relative_to(paths.root)
        with atomic_path(target) as temporary:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
        os.utime(target)  # newer than every input, as Snakemake wants it


def _say_stopped(report: ReportHook, runner: Runner) -> None:
    received = signals.received()
    message = f"stopped by {received.name if received else 'a signal to another process'}"
    report.report("interrupted", runner.max_iters, message)
    say(f"{report.path.parent} {message}; the same command goes on with it")


def _inputs(config: Config) -> dict[str, str]:
    """SHA-256 of every file that the training starts from."""
    files = [Path(train_dataset(config).ann_file)]
    files += [Path(hook.checkpoint) for hook in config.custom_hooks if hook.type == "WarmStartHook"]
    for path in files:
        if not path.exists():
            raise FileNotFoundError(f"expected {path}, found nothing there; run `snakemake {path}`")
    return manifest.sha256s(files)


def _fingerprint(config: Config, inputs: dict[str, str], processes: int) -> str:
    """Digest of all that decides a training's result."""
    decisive = {key: value for key, value in config.items() if key not in _WITHOUT_EFFECT}
    decisive["train_dataloader"] = {key: value for key, value in config.train_dataloader.items() if key not in _LOADING}
    code = dependencies.code(config.cell.activation)
    parts = [Config(decisive).pretty_text, *code, *inputs.values(), torch.__version__, str(processes)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _name_others(work_dir: Path, folder: Path) -> None:
    """Say which checkpoints are not taken up, since another configuration or other data wrote them."""
    others = sorted({path.parent for path in work_dir.glob("*/iter_*.pth")} - {folder})
    if others:
        names = ", ".join(map(str, others))
        say(
            f"not going on from {names}: checkpoints of another configuration, other data, another number of "
            "processes or another PyTorch; remove what is not needed"
        )
