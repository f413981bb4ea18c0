"""What happens around the iterations: starting weights, history, checkpoints, reports, and the reasons to stop."""

import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mmengine.dist import all_reduce, all_reduce_dict, is_distributed, is_main_process
from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.registry import HOOKS

from gumbel.detection.checkpoints import adapt, checkpoints, load_weights, save_weights
from gumbel.detection.parts import unwrapped
from gumbel.jobs import signals, status
from gumbel.jobs.attempts import Attempts
from gumbel.jobs.files import atomic_path
from gumbel.jobs.lock import Claim
from gumbel.jobs.terminal import say
from gumbel.paths import CellPaths


@HOOKS.register_module()
@dataclass(eq=False)
class WarmStartHook(Hook):
    """Start a training from the weights at ``checkpoint``, fitted to its categories."""

    checkpoint: str

    def before_train(self, runner: Any) -> None:
        if runner.iter == 0:
            model = unwrapped(runner.model)
            model.load_state_dict(adapt(load_weights(Path(self.checkpoint)), model), strict=False)


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
class RateHook(ParamSchedulerHook):
    """Advance the learning rate where the optimiser has made its step, so that schedules count steps.

    mmengine's own hook advances it with every load: a warm-up would depend on how many loads make a step.
    """

    def after_train_iter(self, runner: Any, *arguments: Any, **named: Any) -> None:
        if (runner.iter + 1) % runner.optim_wrapper._accumulative_counts == 0:
            super().after_train_iter(runner, *arguments, **named)


@HOOKS.register_module()
@dataclass(eq=False)
class SnapshotHook(Hook):
    """Keep the weights at shares of the training, where the optimiser has made its step.

    They lie in the training's work folder before any checkpoint beyond them does, so that an interrupted training has
    those of the part that it does not repeat.
    """

    percents: list[int]  #: of the training

    priority = "LOW"  # before ResumeHook

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        window = runner.optim_wrapper._accumulative_counts
        steps, done = runner.max_iters // window, runner.iter + 1
        for percent in self.percents:
            if done == max(1, steps * percent // 100) * window and is_main_process():
                save_weights(unwrapped(runner.model), CellPaths(Path(runner.work_dir)).at(percent).checkpoint)


@dataclass(eq=False)
class HistoryHook(Hook):
    """Keep every loss of every iteration, across interruptions, and stop a training that goes nowhere.

    A loss that is not finite stops the training, and so does one that diverges: the mean of the last ``window``
    iterations is more than ``divergence`` times that of the first ``window``.
    """

    window: int = 50
    divergence: float = 10.0
    columns: dict[str, array] = field(default_factory=dict)
    _iteration_started: float = field(default=0.0, init=False)
    _waited: float = field(default=0.0, init=False)

    priority = "VERY_HIGH"  # before ResumeHook, which stores the history

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.columns = {name: array("d", values.tolist()) for name, values in checkpoint["history"].items()}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint["history"] = {name: torch.from_numpy(np.array(values)) for name, values in self.columns.items()}
        # Kept in the history; as objects of mmengine they would also make the file need pickle to load.
        checkpoint["message_hub"]["log_scalars"].clear()

    def before_train(self, runner: Any) -> None:
        self._iteration_started = time.monotonic()

    def before_train_iter(self, *_: Any, **__: Any) -> None:
        self._waited = time.monotonic() - self._iteration_started

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any, outputs: dict[str, torch.Tensor]) -> None:
        found = {name: value.detach().clone() for name, value in outputs.items()}
        images = [sample.img_id for sample in data_batch["data_samples"]]
        if not torch.isfinite(found["loss"]):
            raise FloatingPointError(
                f"expected a finite loss, found {found['loss'].item()} at iteration {runner.iter + 1} on images "
                f"{images}; lower the learning rate, or look at these images' annotations"
            )
        if is_distributed():
            all_reduce_dict(found, op="mean")
        now = time.monotonic()
        row = {"iteration": runner.iter + 1, "lr": runner.optim_wrapper.get_lr()["lr"][0]}
        row |= {name: value.item() for name, value in found.items()}
        row |= {"seconds": now - self._iteration_started, "waited": self._waited}
        self._iteration_started = now
        for name, value in row.items():
            self.columns.setdefault(name, array("d")).append(value)
        losses = self.columns["loss"]
        first, last = sum(losses[: self.window]) / self.window, sum(losses[-self.window :]) / self.window
        if len(losses) >= 2 * self.window and last > self.divergence * abs(first):
            raise FloatingPointError(
                f"expected the loss to fall, found {last:.3g} as its mean over the {self.window} iterations up to "
                f"{len(losses)}, {last / abs(first):.0f} times that over the first ones; last on images {images}; "
                "lower the learning rate, or warm it up longer"
            )

    def means(self, first: int, last: int) -> dict[str, float]:
        """Mean of every column but the number of the iteration, over iterations ``first + 1`` to ``last``."""
        chosen = {name: values[first:last] for name, values in self.columns.items() if name != "iteration"}
        return {name: sum(values) / len(values) for name, values in chosen.items()}

    def table(self) -> pd.DataFrame:
        """One row an iteration: losses (means over the processes), learning rate, seconds.

        ``waited`` are those of the ``seconds`` in which this process waited for the batch.
        """
        return pd.DataFrame(self.columns).astype({"iteration": int})

    def __len__(self) -> int:
        return len(self.columns.get("iteration", ()))


@HOOKS.register_module()
@dataclass(eq=False)
class ResumeHook(Hook):
    """Write what a training needs to go on, every so often and when a signal asks the training to stop.

    Whatever kills a training takes what was computed since the last checkpoint: ``seconds`` at most, and a step.
    Only where the optimiser has made its step, since gradients that are being accumulated are not stored: a signal that
    arrives in between is heeded at the step.
    """

    interval: int  #: iterations between two checkpoints, at most
    keep: int = 2  #: how many of the last checkpoints stay
    seconds: float = 540.0  #: between two checkpoints, at most
    _saved: float = field(default=0.0, init=False)

    priority = "VERY_LOW"  # after the schedule's step

    def before_train(self, runner: Any) -> None:
        self._saved = time.monotonic()

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        done = runner.iter + 1
        window = runner.optim_wrapper._accumulative_counts
        last = done == runner.max_iters
        if done % window and not last:
            return
        received = torch.tensor(float(signals.received() is not None))
        all_reduce(received, op="max")  # by any process
        stop = bool(received)
        due = done // self.interval > (done - window) // self.interval or time.monotonic() - self._saved > self.seconds
        if (due or stop or last) and is_main_process():
            self._saved = time.monotonic()
            folder = Path(runner.work_dir)
            with atomic_path(folder / f"iter_{done}.pth") as temporary:
                runner.save_checkpoint(str(folder), temporary.name, by_epoch=False)
            for old in checkpoints(folder)[self.keep :]:
                old.unlink()
        runner.train_loop.stop_training = stop


@dataclass(eq=False)
class ReportHook(Hook):
    """Say how far the training is, in its status file, its list of attempts and a line on the terminal."""

    path: Path
    history: HistoryHook
    attempts: Attempts
    claim: Claim
    interval: float = 5.0  #: seconds between two reports, but for the first and the last iteration
    _last: float = field(default=0.0, init=False)

    priority = "HIGH"

    def before_train(self, runner: Any) -> None:
        self.report("running", runner.max_iters)

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        self.claim.check()
        now = time.monotonic()
        if runner.iter + 1 == runner.max_iters or now - self._last >= self.interval:
            self._last = now
            self.report("running", runner.max_iters)

    def report(self, state: Any, iterations: int, message: str | None = None) -> None:
        """Write the status and the attempts as of now."""
        done = len(self.history) or self.attempts.current.first
        self.attempts.write(done, ended=None if state == "running" else state)
        recent: dict[str, float] = {}
        if len(self.history):
            now = self.history.means(max(0, done - 20), done)
            left = (iterations - done) * now["seconds"]
            recent = dict(loss=now["loss"], eta_seconds=left, waiting=now["waited"] / now["seconds"])
        place = self.attempts.current.model_dump(include={"host", "pid", "slurm_job", "gpu", "processes"})
        length = dict(iteration=done, iterations=iterations, seconds=self.attempts.seconds)
        facts = place | length | recent | {"message": message, "attempt": len(self.attempts.all)}
        status.write(self.path, status.Status(state=state, **facts))
        if state == "running" and recent:
            name = "/".join(self.path.parts[-4:-1])
            eta = "{:02d}:{:02d}".format(*divmod(int(recent["eta_seconds"]), 60))
            say(f"{name:<42} iteration {done:>4}/{iterations}  loss {recent['loss']:7.3f}  ETA {eta}")
