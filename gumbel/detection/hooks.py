"""What happens around the iterations: starting weights, history, checkpoints, reports, and the reasons to stop."""

import time
from array import array
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mmengine.dist import all_reduce, all_reduce_dict, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from gumbel.detection.checkpoints import adapt, checkpoints, load_weights, save_weights
from gumbel.jobs import signals, status
from gumbel.jobs.attempts import Attempts
from gumbel.jobs.files import atomic_path
from gumbel.jobs.lock import Claim
from gumbel.jobs.terminal import say
from gumbel.paths import CellPaths


def unwrapped(model: Any) -> Any:
    """The detector itself, also where mmengine wrapped it for several processes."""
    return model.module if is_model_wrapper(model) else model


@HOOKS.register_module()
class WarmStartHook(Hook):
    """Start a training from the weights at ``checkpoint``, fitted to its categories."""

    def __init__(self, checkpoint: str):
        self.checkpoint = Path(checkpoint)

    def before_train(self, runner: Any) -> None:
        if runner.iter == 0:
            model = unwrapped(runner.model)
            model.load_state_dict(adapt(load_weights(self.checkpoint), model), strict=False)


@HOOKS.register_module()
class ZeroInitResidualHook(Hook):
    """Start every residual branch of the backbone at zero, as training from scratch needs.

    mmdet does so for ResNet; its test of the block's class misses ResNeXt (mmdet 3.3.0, resnet.py), whose released
    recipe always starts from pretrained weights.
    """

    def before_train(self, runner: Any) -> None:
        if runner.iter == 0:
            for module in unwrapped(runner.model).backbone.modules():
                if hasattr(module, "norm3_name"):
                    torch.nn.init.zeros_(module.norm3.weight)


@HOOKS.register_module()
class SnapshotHook(Hook):
    """Keep the weights at shares of the training, where the optimiser has made its step.

    They lie in the training's work folder before any checkpoint beyond them does, so that an interrupted training
    has those of the part that it does not repeat.

    Args:
        percents: shares of the training, in percent.
    """

    priority = "LOW"  # before ResumeHook

    def __init__(self, percents: list[int]):
        self.percents = percents

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, torch.Tensor] | None = None
    ) -> None:
        window = runner.optim_wrapper._accumulative_counts
        steps, done = runner.max_iters // window, runner.iter + 1
        for percent in self.percents:
            if done == max(1, steps * percent // 100) * window and is_main_process():
                save_weights(unwrapped(runner.model), CellPaths(Path(runner.work_dir)).at(percent).checkpoint)


class HistoryHook(Hook):
    """Keep every loss of every iteration, across interruptions, and stop a training that goes nowhere.

    A loss that is not finite stops the training, and so does one that diverges: the mean of the last ``window``
    iterations is more than ``divergence`` times that of the first ``window``.

    Args:
        window: iterations that the means are taken over.
        divergence: how many times the loss may grow.
    """

    priority = "VERY_HIGH"  # before ResumeHook, which stores the history

    def __init__(self, window: int = 50, divergence: float = 10.0):
        self.window = window
        self.divergence = divergence
        self.columns: dict[str, array] = {}
        self._iteration_started = 0.0
        self._waited = 0.0

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.columns = {name: array("d", values.tolist()) for name, values in checkpoint["history"].items()}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint["history"] = {
            name: torch.tensor(values, dtype=torch.float64) for name, values in self.columns.items()
        }
        # Kept in the history; as objects of mmengine they would also make the file need pickle to load.
        checkpoint["message_hub"]["log_scalars"].clear()

    def before_train(self, runner: Any) -> None:
        self._iteration_started = time.monotonic()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._waited = time.monotonic() - self._iteration_started

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, torch.Tensor] | None = None
    ) -> None:
        found = {name: value.detach().clone() for name, value in (outputs or {}).items()}
        images = [sample.img_id for sample in data_batch["data_samples"]]
        self._require_finite(found["loss"].item(), runner.iter + 1, images)
        if is_distributed():
            all_reduce_dict(found, op="mean")
        now = time.monotonic()
        row = {"iteration": runner.iter + 1, "lr": runner.optim_wrapper.get_lr()["lr"][0]}
        row |= {name: value.item() for name, value in found.items()}
        row |= {"seconds": now - self._iteration_started, "waited": self._waited}
        self._iteration_started = now
        for name, value in row.items():
            self.columns.setdefault(name, array("d")).append(value)
        self._require_convergence(images)

    def recent(self, name: str, number: int = 20) -> float:
        """Mean of a column over its last ``number`` iterations."""
        values = self.columns[name][-number:]
        return sum(values) / len(values)

    def table(self) -> pd.DataFrame:
        """One row an iteration: losses (means over the processes), learning rate, seconds.

        ``waited`` are those of the ``seconds`` in which this process waited for the batch.
        """
        return pd.DataFrame(self.columns).astype({"iteration": int})

    def __len__(self) -> int:
        return len(self.columns.get("iteration", ()))

    def _require_finite(self, loss: float, iteration: int, images: list[int]) -> None:
        if not abs(loss) < float("inf"):
            raise FloatingPointError(
                f"expected a finite loss, found {loss} at iteration {iteration} on images {images}; "
                "lower the learning rate, or look at these images' annotations"
            )

    def _require_convergence(self, images: list[int]) -> None:
        losses = self.columns["loss"]
        if len(losses) < 2 * self.window:
            return
        first, last = sum(losses[: self.window]) / self.window, sum(losses[-self.window :]) / self.window
        if last > self.divergence * abs(first):
            raise FloatingPointError(
                f"expected the loss to fall, found {last:.3g} as its mean over the {self.window} iterations up to "
                f"{len(losses)}, {last / abs(first):.0f} times that over the first ones; last on images {images}; "
                "lower the learning rate, or warm it up longer"
            )


@HOOKS.register_module()
class ResumeHook(Hook):
    """Write what a training needs to go on, every so often and when a signal asks the training to stop.

    Whatever kills a training takes what was computed since the last checkpoint: ``seconds`` at most, and a step.
    Only where the optimiser has made its step, since gradients that are being accumulated are not stored: a signal
    that arrives in between is heeded at the step.

    Args:
        interval: iterations between two checkpoints, at most.
        keep: how many of the last checkpoints stay.
        seconds: between two checkpoints, at most.
    """

    priority = "VERY_LOW"  # after the schedule's step

    def __init__(self, interval: int, keep: int = 2, seconds: float = 540.0):
        self.interval = interval
        self.keep = keep
        self.seconds = seconds
        self._saved = 0.0

    def before_train(self, runner: Any) -> None:
        self._saved = time.monotonic()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, torch.Tensor] | None = None
    ) -> None:
        done = runner.iter + 1
        window = runner.optim_wrapper._accumulative_counts
        last = done == runner.max_iters
        if done % window and not last:
            return
        stop = _any_process(signals.received() is not None)
        due = done // self.interval > (done - window) // self.interval or time.monotonic() - self._saved > self.seconds
        if due or stop or last:
            self._save(runner, done)
        runner.train_loop.stop_training = stop

    def _save(self, runner: Any, done: int) -> None:
        if not is_main_process():
            return
        self._saved = time.monotonic()
        folder = Path(runner.work_dir)
        with atomic_path(folder / f"iter_{done}.pth") as temporary:
            runner.save_checkpoint(str(folder), temporary.name, by_epoch=False)
        for old in checkpoints(folder)[self.keep :]:
            old.unlink()


def _any_process(true: bool) -> bool:
    """Whether it is true in any process of the training."""
    flag = torch.tensor(float(true))
    all_reduce(flag, op="max")
    return bool(flag)


class ReportHook(Hook):
    """Say how far the training is, in its status file, its list of attempts and a line on the terminal.

    Args:
        interval: seconds between two reports, but for the first and the last iteration.
    """

    priority = "HIGH"

    def __init__(
        self, path: Path, history: HistoryHook, attempts: Attempts, claim: Claim, interval: float = 5.0
    ) -> None:
        self.path = path
        self.history = history
        self.attempts = attempts
        self.claim = claim
        self.interval = interval
        self._last = 0.0

    def before_train(self, runner: Any) -> None:
        self.report("running", runner.max_iters)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, torch.Tensor] | None = None
    ) -> None:
        self.claim.check()
        now = time.monotonic()
        if runner.iter + 1 == runner.max_iters or now - self._last >= self.interval:
            self._last = now
            self.report("running", runner.max_iters)

    def report(self, state: Any, iterations: int, message: str | None = None) -> None:
        """Write the status and the attempts as of now."""
        trained = len(self.history)
        done = trained or self.attempts.current.first
        self.attempts.write(done, ended=None if state == "running" else state)
        current = self.attempts.current
        loss = self.history.recent("loss") if trained else None
        eta = (iterations - done) * self.history.recent("seconds") if trained else None
        status.write(
            self.path,
            status.Status(
                state=state,
                iteration=done,
                iterations=iterations,
                loss=loss,
                eta_seconds=eta,
                waiting=self.history.recent("waited") / self.history.recent("seconds") if trained else None,
                message=message,
                host=current.host,
                pid=current.pid,
                slurm_job=current.slurm_job,
                gpu=current.gpu,
                processes=current.processes,
                attempt=len(self.attempts.all),
                seconds=self.attempts.seconds,
            ),
        )
        if state == "running" and loss is not None and eta is not None:
            self._print(done, iterations, loss, eta)

    def _print(self, done: int, iterations: int, loss: float, eta: float) -> None:
        name = "/".join(self.path.parts[-4:-1])
        minutes, seconds = divmod(int(eta), 60)
        say(f"{name:<42} iteration {done:>4}/{iterations}  loss {loss:7.3f}  ETA {minutes:02d}:{seconds:02d}")
