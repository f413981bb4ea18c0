"""A training is one run of a tracker, with each step once, however many attempts it took."""

import sys
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gumbel.detection import curves
from gumbel.detection.compose import cell_config
from gumbel.detection.curves import CurvesHook
from gumbel.detection.hooks import HistoryHook
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS, TrainingPaths

MINI = matrix.load(CONFIGS / "experiments" / "mini.yaml")
PATHS = TrainingPaths(CONFIGS / "results" / "mini" / "htc_r101" / "gumbel" / "seed0")
ITERATIONS = 34


def tracked(*names: str) -> Experiment:
    return matrix.parse(MINI.model_dump(mode="json") | {"track": list(names)})


def attempt(visualizer: Any, first: int, last: int) -> None:
    """Iterations after ``first`` up to ``last``, with a loss that is the iteration's number."""
    history = HistoryHook(
        columns={"iteration": array("d", range(1, first + 1)), "loss": array("d", range(1, first + 1))}
    )
    hook = CurvesHook(10)
    runner = SimpleNamespace(iter=first, max_iters=ITERATIONS, hooks=[history, hook], visualizer=visualizer)
    hook.before_train(runner)
    for done in range(first + 1, last + 1):
        for column in history.columns.values():
            column.append(done)
        runner.iter = done - 1
        hook.after_train_iter(runner)


def test_a_point_is_the_mean_of_its_iterations_and_each_step_is_told_once():
    told = []
    visualizer = SimpleNamespace(add_scalars=lambda scalars, step: told.append((step, scalars)))
    attempt(visualizer, 0, ITERATIONS)
    assert told == [(10, {"loss": 5.5}), (20, {"loss": 15.5}), (30, {"loss": 25.5}), (34, {"loss": 32.5})]


@pytest.mark.parametrize("checkpoint", [0, 13, 20])
def test_an_attempt_that_goes_on_tells_the_curves_from_the_beginning(checkpoint):
    told, again = [], []
    attempt(SimpleNamespace(add_scalars=lambda scalars, step: told.append((step, scalars))), 0, ITERATIONS)
    attempt(SimpleNamespace(add_scalars=lambda scalars, step: again.append((step, scalars))), checkpoint, ITERATIONS)
    assert again == told


def test_curves_go_to_tensorboard_unless_the_experiment_says_otherwise(monkeypatch):
    (backend,) = curves.visualizer(MINI, PATHS)["vis_backends"]
    assert backend == {"type": "TensorboardVisBackend", "save_dir": str(PATHS.curves / "tensorboard")}
    monkeypatch.setattr(curves, "find_spec", lambda name: name)
    everywhere = curves.visualizer(tracked("tensorboard", "wandb", "mlflow"), PATHS)
    assert [backend["type"] for backend in everywhere["vis_backends"]] == [
        "TensorboardVisBackend",
        "OneWandbRun",
        "OneMLflowRun",
    ]
    mlflow = everywhere["vis_backends"][2]
    assert mlflow["tracking_uri"] == f"sqlite:///{PATHS.curves}/mlflow/mlflow.db"
    nowhere = tracked()
    assert curves.visualizer(nowhere, PATHS)["vis_backends"] == []
    assert cell_config(nowhere, "mask_rcnn_r50", "gumbel", seed=0).default_hooks.logger is None


def named(*trackers: str, fingerprint: str = "0123456789abcdef0123") -> list[Any]:
    """The configured backends of a training, as an attempt has them."""
    config = Config(dict(visualizer=curves.visualizer(tracked(*trackers), PATHS)))
    curves.name_run(config, fingerprint)
    return list(config.visualizer.vis_backends)


def test_an_mlflow_server_is_the_one_that_the_environment_names_while_training(monkeypatch):
    monkeypatch.setattr(curves, "find_spec", lambda name: name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert named("mlflow")[0].tracking_uri.startswith("sqlite:///")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example")
    (backend,) = named("mlflow")
    assert (backend.tracking_uri, "artifact_location" in backend) == ("https://tracking.example", False)


def test_a_tracker_whose_package_is_missing_is_refused_before_training(monkeypatch):
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="expected the package of wandb, found it not installed; `pip install wandb`"):
        cell_config(tracked("wandb"), "mask_rcnn_r50", "gumbel", seed=0)


class Wandb:
    """What a W&B server keeps, as its client's documentation has it: steps below the next one are dropped."""

    def __init__(self) -> None:
        self.runs: dict[str, list[int]] = {}
        self.ignored = 0

    def init(self, **settings: Any) -> None:
        assert settings["resume"] == "allow"
        self.steps = self.runs.setdefault(settings["id"], [])
        self.run = SimpleNamespace(log=self.log, starting_step=max(self.steps, default=-1) + 1)

    def log(self, scalars: dict, step: int) -> None:
        if self.steps and step <= self.steps[-1]:
            self.ignored += 1
        else:
            self.steps.append(step)


def test_wandb_has_one_run_with_each_step_once(monkeypatch, tmp_path):
    server = Wandb()
    monkeypatch.setattr(curves, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "wandb", server)
    for first, last in ((0, 27), (20, ITERATIONS)):
        (backend,) = named("wandb")
        backend.save_dir = str(tmp_path)
        attempt(VISBACKENDS.build(backend), first, last)
    assert server.runs == {"0123456789abcdef": [10, 20, 30, 34]}
    assert not server.ignored
    (other,) = named("wandb", fingerprint="another training")
    assert other.init_kwargs.id == "another training"


def test_a_training_that_was_killed_has_each_step_once_in_tensorboard(tmp_path):
    """As `train` does it: what the attempt before left is removed."""
    for first, last in ((0, 27), (20, ITERATIONS)):
        for file in tmp_path.rglob("events*"):
            file.unlink()
        backend = VISBACKENDS.build(dict(type="TensorboardVisBackend", save_dir=str(tmp_path)))
        attempt(backend, first, last)
        backend.close()
    assert [path.suffix for path in Path(tmp_path).rglob("*") if path.is_file()]
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [
        (10, 5.5),
        (20, 15.5),
        (30, 25.5),
        (34, 32.5),
    ]
