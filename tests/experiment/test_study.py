"""Studies: the levels that a file asks for, and what is wrong with one."""

from pathlib import Path

import pytest
import yaml

from gumbel.datasets.mini import MiniData
from gumbel.experiment import matrix, study
from gumbel.paths import CONFIGS

OURS = yaml.safe_load((study.FOLDER / "tail.yaml").read_text())


def read(folder: Path, **changes: object) -> study.Study:
    (folder / "own.yaml").write_text(yaml.safe_dump(OURS | changes))
    return study.load(folder / "own.yaml")


def test_levels_are_the_base_with_one_setting_changed_and_data_of_their_own():
    base = matrix.load(CONFIGS / "experiments" / "tail.yaml")
    for level in study.levels(study.load("tail")):
        record, other = base.model_dump(), level.experiment.model_dump()
        top, _, key = level.factor.partition(".")
        section, changed = (one[top] if key else one for one in (record, other))
        assert changed[key or top] == level.value
        section[key or top] = level.value
        for name in ("name", "description", "data_root"):
            assert (record.pop(name) == other.pop(name)) == (level.record is None)
        assert record == other


def test_the_base_is_a_level_of_every_factor_and_is_run_from_its_own_file():
    levels = study.levels(study.load("tail"))
    own = [level for level in levels if level.experiment.name == "tail"]
    assert [level.factor for level in own] == list(OURS["factors"])
    assert {level.file for level in own} == {CONFIGS / "experiments" / "tail.yaml"}


def test_the_file_of_a_level_is_that_experiment(tmp_path):
    for level in study.levels(study.load("tail")):
        if level.record:
            (tmp_path / "level.yaml").write_text(yaml.safe_dump(level.record))
            assert matrix.load(tmp_path / "level.yaml") == level.experiment


def test_names_of_levels_differ_and_name_the_setting():
    names = {level.experiment.name for level in study.levels(study.load("tail"))}
    assert len(names) == sum(len(values) - 1 for values in OURS["factors"].values()) + 1
    assert {"tail", "tail_data_imbalance_1000", "tail_classifier_prior_0_001", "tail_schedule_tail_2x"} <= names


def test_every_level_of_ours_can_be_generated():
    """As the closed form has it: one image of the rarest category at least, and room for the most frequent."""
    for level in study.levels(study.load("tail")):
        data = MiniData.model_validate(level.experiment.data)
        ratio = data.imbalance ** (1 / (data.categories - 1))
        most = 5 * data.train_images * (1 - 1 / ratio) / (1 - ratio**-data.categories) if ratio > 1 else 0
        assert most <= data.train_images
        assert ratio == 1 or most / data.imbalance >= 1
        assert data.categories + data.warm_start_categories <= 295


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": {"data.imbalence": [1, 10]}}, r"data\.imbalence: unknown key"),
        ({"factors": {"schedul": ["tail"]}}, r"schedul: unknown key"),
        ({"factors": {"data.imbalance": []}}, r"factors\.data\.imbalance: .*at least 1 item.*found \[\]"),
        ({"factors": {}}, r"factors: .*at least 1 item"),
        ({"factors": {"data.imbalance": [1, 10]}}, r"and once that of tail, 100\.0; found \[1, 10\]"),
        ({"factors": {"data.imbalance": [100, 100]}}, r"expected different values"),
        ({"factors": {"data.imbalance": [100, 0.5]}}, r"data\.imbalance: .*greater than or equal to 1; found 0\.5"),
        ({"factors": {"schedule.length": [1]}}, r"expected a section schedule, found 'tail'"),
        ({"factors": {"schedule": ["tail", "tail_3x"]}}, r"schedule: expected a file of configs/schedules"),
        ({"of": "seesaw"}, r"base: expected .* the activations seesaw, softmax"),
        ({"base": "mini"}, r"base: expected an experiment of one architecture"),
        ({"base": "tial"}, r"tial"),
        ({"extra": 1}, r"extra: .*[Ee]xtra"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read(tmp_path, **changes)
