"""Training curves for trackers: TensorBoard, W&B and MLflow show a training as one run, and each step of it once.

An attempt writes the curves from the first iteration on, out of the history that its checkpoint holds: what an earlier
attempt wrote may end before that checkpoint, where a kill took it, or lie beyond it.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, VISBACKENDS
from mmengine.visualization import MLflowVisBackend, WandbVisBackend

from gumbel.detection.hooks import HistoryHook
from gumbel.experiment.schema import Experiment
from gumbel.paths import TrainingPaths

#: Iterations between two points of a curve; a point is their mean.
SCALARS_EVERY = 10
#: What tells an MLflow server which training a run is of.
MLFLOW_TAG = "gumbel.training"


def visualizer(experiment: Experiment, paths: TrainingPaths) -> dict[str, Any]:
    """mmengine's visualizer, writing the curves of one training to every tracker of the experiment.

    Raises:
        ValueError: the package of a tracker is not installed.
    """
    for name in experiment.track:
        if find_spec(name) is None:
            raise ValueError(
                f"`track`: expected the package of {name}, found it not installed; "
                f"`pip install {name}`, or leave it out of `track`"
            )
    run, mlflow = "-".join(paths.root.parts[-3:]), paths.curves / "mlflow"
    # A database of the training's own: mmengine's default, a folder of files, is refused by MLflow 3.17
    store = dict(tracking_uri=f"sqlite:///{mlflow}/mlflow.db", artifact_location=str(mlflow / "artifacts"))
    backends: dict[str, dict[str, Any]] = {
        "tensorboard": dict(type="TensorboardVisBackend"),
        "wandb": dict(type="OneWandbRun", init_kwargs=dict(project="gumbel", group=experiment.name, name=run)),
        "mlflow": dict(type="OneMLflowRun", exp_name=experiment.name, run_name=run, **store),
    }
    chosen = [dict(backends[name], save_dir=str(paths.curves / name)) for name in experiment.track]
    return dict(type="Visualizer", vis_backends=chosen)


def name_run(config: Config, fingerprint: str) -> None:
    """Let every attempt at the training of this fingerprint write to the same run of a tracker.

    MLflow's curves go to the server that ``MLFLOW_TRACKING_URI`` names where the training runs, if any.
    """
    for backend in config.visualizer.vis_backends:
        if backend.type == "OneWandbRun":
            backend.init_kwargs.update(id=fingerprint[:16], resume="allow")
        if backend.type == "OneMLflowRun":
            backend.tags = {MLFLOW_TAG: fingerprint[:16]}
            if "MLFLOW_TRACKING_URI" in os.environ:
                backend.tracking_uri = os.environ["MLFLOW_TRACKING_URI"]
                backend.pop("artifact_location", None)


@VISBACKENDS.register_module()
class OneWandbRun(WandbVisBackend):
    """mmengine's backend, which numbers points itself, with iterations as steps, and without those that W&B has."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self._init_kwargs["allow_val_change"] = True  # another attempt's folder of checkpoints
        super().add_config(config, **kwargs)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        run = self.experiment.run
        if step >= run.starting_step:
            run.log(scalar_dict, step=step)


@VISBACKENDS.register_module()
class OneMLflowRun(MLflowVisBackend):
    """mmengine's backend, which begins a run each time, with the run that an earlier attempt began, if any."""

    _logged = 0

    def _init_env(self) -> None:
        import mlflow

        mlflow.set_tracking_uri(self._tracking_uri)
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in self._tags.items())
        known = mlflow.search_runs([], filter_string=query, output_format="list", experiment_names=[self._exp_name])
        if known:
            mlflow.start_run(run_id=known[0].info.run_id)
            told = mlflow.MlflowClient().get_metric_history(known[0].info.run_id, "loss")
            self._logged = max((point.step for point in told), default=0)
        super()._init_env()

    def add_config(self, config: Config, **kwargs: Any) -> None:
        if not self._logged:  # MLflow's parameters are written once
            super().add_config(config, **kwargs)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        if step > self._logged:
            super().add_scalars(scalar_dict, step, file_path, **kwargs)


@HOOKS.register_module()
@dataclass(eq=False)
class CurvesHook(Hook):
    """Show trackers the mean of every so many iterations, and of what is left at the end."""

    interval: int

    priority = "BELOW_NORMAL"  # after HistoryHook

    def before_train(self, runner: Any) -> None:
        for done in range(self.interval, runner.iter + 1, self.interval):
            self._show(runner, done)

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        done = runner.iter + 1
        if done % self.interval == 0 or done == runner.max_iters:
            self._show(runner, done)

    def _show(self, runner: Any, done: int) -> None:
        if is_main_process():
            (history,) = (hook for hook in runner.hooks if isinstance(hook, HistoryHook))
            first = (done - 1) // self.interval * self.interval
            runner.visualizer.add_scalars(history.means(first, done), step=done)
