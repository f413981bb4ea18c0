"""What Snakemake plans and refuses, without running anything."""

import os
import re

import pytest
import yaml
import yte

from gumbel import datasets
from gumbel.paths import CONFIGS, REPOSITORY
from tests.test_layers import tracked


def jobs(output: str) -> dict[str, int]:
    """Rule counts of a dry run."""
    table = output[output.index("Job stats") :]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


def test_the_default_run_is_the_whole_mini_matrix(snakemake):
    done = snakemake("-n", "reports/summary.html")
    assert done.returncode == 0, done.stderr
    counts = jobs(done.stdout)
    assert (counts["train"], counts["warm_start"], counts["weight_norms"]) == (15, 5, 15)
    # One prediction a cell, of both splits; sigmoid's five score the first as released too
    assert (counts["predict"], counts["predict_released"]) == (15 - 5, 5)
    # Intervals and errors are of the first split, which decides the claims
    assert (counts["evaluate"], counts["evaluate_split"]) == (15 + 5, 15)
    assert (counts["collect"], counts["report"], counts["data"]) == (1, 1, 1)


def test_no_target_means_the_report(snakemake):
    assert jobs(snakemake("-n").stdout)["report"] == 1


def test_the_slurm_profiles_are_found_from_the_root(monkeypatch):
    """`snakemake --profile slurm` looks for a folder of that name in the current folder."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    for name in ("slurm", "slurm-gres"):
        found, whole = (
            yte.process_yaml((folder / name / "config.yaml").read_text(), require_use_yte=True)
            for folder in (REPOSITORY, REPOSITORY / "workflow" / "profiles")
        )
        assert found == whole
        assert found["executor"] == "slurm"


def test_nothing_that_is_needed_is_a_link():
    """`git clone -c core.symlinks=false`, Windows' default, leaves a text in the place of each, as some archives do."""
    assert not [path for path in tracked() if path.is_symlink()]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"activatons": ["gumbel"]}, r"activatons: unknown key; docs/experiment.md lists the known ones"),
        (
            {"architectures": ["mask_rcnn_r5O"]},
            r"architectures: expected .*mask_rcnn_r50.*'mask_rcnn_r5O'",
        ),
        ({"activations": ["gumble"]}, r"activations: expected one of .*gumbel.*; found 'gumble'"),
        ({"schedule": "mimi"}, r"schedule: expected a file of configs/schedules \(.*mini.*\); found 'mimi'"),
        ({"dataset": "mimi"}, r"dataset: expected one of coco, lvis_v1, mini; found 'mimi'"),
        ({"splits": ["minival"]}, r"splits: expected one of .*val_uniform.*; found 'minival'"),
        ({"seeds": [-1]}, r"seeds\.0: .*greater than or equal to 0; found -1"),
        ({"data": {"categories": 1}}, r"data\.categories: .*found 1"),
        ({"widths": {"base_channel": 8}}, r"widths\.base_channel: unknown key"),
    ],
)
def test_a_mistake_in_the_configuration_is_refused_before_anything_runs(
    snakemake, experiment_file, change, expected, tmp_path
):
    """Also where the page of another experiment is there already."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "summary.html").touch()
    done = snakemake("--configfile", experiment_file(**change), "-n")
    assert done.returncode == 1
    assert re.search(expected, done.stdout + done.stderr), done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_typo_in_a_targets_path_names_the_cells_that_exist(snakemake):
    done = snakemake("-n", "results/mini/mask_rcnn_r50/gumble/seed0/train/checkpoint.pth")
    assert done.returncode == 1
    assert "found mask_rcnn_r50/gumble/seed0" in done.stdout + done.stderr
    assert "mask_rcnn_r50/gumbel/seed0" in done.stdout + done.stderr


def test_the_lvis_experiment_is_planned_whole_data_and_starting_weights_included(snakemake):
    done = snakemake("--configfile", str(CONFIGS / "experiments" / "lvis.yaml"), "-n")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = jobs(done.stdout)
    assert (counts["train"], counts["predict"] + counts["predict_released"], counts["report"]) == (15, 15, 1)
    # ResNet-50, ResNet-101 and ResNeXt-101, each once for all the cells that start from it
    assert (counts["data"], counts["backbone"]) == (1, 3)


def test_an_experiment_is_planned_with_what_its_base_and_the_command_line_say(snakemake):
    done = snakemake("--configfile", str(CONFIGS / "experiments" / "lvis_2x.yaml"), "--config", "gpus=2", "-n", "-p")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = jobs(done.stdout)
    assert (counts["train"], counts["predict"] + counts["predict_released"], counts["report"]) == (3, 3, 1)
    for setting in ('"name": "lvis_2x"', '"gpus": 2', '"schedule": "schedule_2x"', '"dataset": "lvis_v1"'):
        assert setting in done.stdout, setting


def test_settings_of_the_command_line_go_over_the_default_experiment(snakemake):
    done = snakemake("--config", "name=mini2", "seeds=[3]", "-n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs(done.stdout)["train"] == 15
    assert "results/mini2/htc_r101/gumbel/seed3/config.py" in done.stdout
    assert "results/mini/" not in done.stdout


def test_data_and_starting_weights_are_fetched_on_the_submit_host():
    rules = (REPOSITORY / "workflow" / "rules" / "data.smk").read_text()
    assert "localrule: DATA.on_submit_host" in rules.partition("rule data:")[2].partition("rule ")[0]
    assert "localrule: True" in rules.partition("rule backbone:")[2]
    assert [name for name in datasets.names() if datasets.get(name).on_submit_host] == ["lvis_v1", "mini"]


def lvis(tmp_path, **changes) -> str:
    experiment = yaml.safe_load((CONFIGS / "experiments" / "lvis.yaml").read_text())
    (tmp_path / "lvis.yaml").write_text(yaml.safe_dump({**experiment, **changes}))
    return str(tmp_path / "lvis.yaml")


@pytest.mark.slow
def test_data_that_is_missing_where_nothing_can_be_written_is_named_before_anything_else_runs(snakemake, tmp_path):
    done = snakemake("data", "--configfile", lvis(tmp_path, data_root="/proc/none"))
    assert done.returncode == 1
    assert "/proc/none/annotations/lvis_v1_train.json, /proc/none/lvis_v1_train.json" in done.stdout + done.stderr
    assert "/proc/none cannot be written to" in done.stdout + done.stderr


def test_annotations_that_lie_where_a_link_belongs_are_not_removed_for_it(snakemake, tmp_path):
    (tmp_path / "data" / "lvis_v1").mkdir(parents=True)
    (tmp_path / "data" / "lvis_v1" / "train.json").write_text("{}")
    done = snakemake("--configfile", lvis(tmp_path), "-n")
    assert done.returncode == 1
    assert "found a file. Name it lvis_v1_train.json" in done.stdout + done.stderr


def test_a_cell_whose_weights_are_given_is_converted_and_the_others_trained(snakemake, experiment_file, tmp_path):
    (tmp_path / "given.pth").touch()
    given = {"mask_rcnn_r50/gumbel/seed0": "given.pth", "htc_r101/softmax/seed0": "given.pth"}
    done = snakemake("--configfile", experiment_file(checkpoints=given), "-n")
    counts = jobs(done.stdout)
    assert (counts["convert"], counts["train"]) == (2, 9 - 2)
    assert counts["weight_norms"] == 9


def test_weights_that_are_given_by_url_are_downloaded_where_there_is_a_network_and_converted(
    snakemake, experiment_file
):
    given = {f"mask_rcnn_r50/{name}/seed0": f"https://example.org/{name}.pth?dl=0" for name in ("gumbel", "softmax")}
    done = snakemake("--configfile", experiment_file(checkpoints=given), "-n")
    counts = jobs(done.stdout)
    assert (counts["weights"], counts["convert"], counts["train"]) == (2, 2, 9 - 2)
    assert re.search(r"rule weights:\n +output: data/weights/\w{8}-gumbel.pth", done.stdout)


def test_the_published_weights_are_evaluated_and_nothing_is_trained(snakemake):
    done = snakemake("--configfile", str(REPOSITORY / "configs" / "experiments" / "released.yaml"), "-n")
    counts = jobs(done.stdout)
    assert (counts["weights"], counts["convert"], counts["predict"]) == (2, 2, 2)
    assert not {"train", "doctor", "backbone"} & set(counts)


def test_given_weights_that_are_not_there_are_named_before_anything_runs(snakemake, experiment_file):
    done = snakemake("--configfile", experiment_file(checkpoints={"mask_rcnn_r50/gumbel/seed0": "given.pth"}), "-n")
    assert done.returncode == 1
    assert "given.pth" in done.stdout + done.stderr


def test_weights_of_a_cell_that_the_experiment_does_not_have_are_refused(snakemake, experiment_file):
    done = snakemake("--configfile", experiment_file(checkpoints={"mask_rcnn_r50/gumbel": "given.pth"}), "-n")
    assert done.returncode == 1
    assert re.search(r"checkpoints: expected one of .*; found 'mask_rcnn_r50/gumbel'", done.stdout + done.stderr)


def test_head_only_trains_in_full_only_the_detectors(snakemake, experiment_file):
    done = snakemake("--configfile", experiment_file(), "-n", "head_only")
    counts = jobs(done.stdout)
    assert (counts["train"], counts["features"]) == (3, 3)
    assert counts["train_head"] == counts["predict_head"] == counts["evaluate_head"] == 9
    assert not {"predict", "evaluate", "collect", "report"} & set(counts)


@pytest.mark.parametrize("target", ["reports/summary.html", "head_only"])
def test_no_wildcard_is_left_in_a_command(snakemake, experiment_file, target):
    """Snakemake fills them into strings alone, not into paths."""
    output = snakemake("--configfile", experiment_file(), "-n", "--printshellcmds", target).stdout
    assert "-m gumbel predict" in output
    assert not re.findall(r"^.*\{\w+\}.*$", output, flags=re.MULTILINE)


def test_the_detector_of_head_only_must_be_a_cell(snakemake, experiment_file):
    done = snakemake("--configfile", experiment_file(head_only={"detector": "parametric"}), "-n", "head_only")
    assert done.returncode == 1
    assert "found mask_rcnn_r50/parametric/seed0" in done.stdout + done.stderr


def test_a_subset_is_written_once_and_everything_about_training_reads_it(snakemake, experiment_file):
    done = snakemake("--configfile", experiment_file(subset={"images_per_category": 5}), "-n", "-p")
    counts = jobs(done.stdout)
    assert (counts["subset"], counts["train"]) == (1, 9)
    readers = [line for line in done.stdout.splitlines() if line.strip().startswith("input:")]
    subset, whole = "data/mini/train_5_per_category.json", "data/mini/train.json"
    assert sum(subset in line for line in readers) == 9 + 9 + 1  # trainings, weight norms, object distribution
    assert sum(whole in line for line in readers) == 1  # the subset itself


def test_every_rule_keeps_a_log_and_a_benchmark():
    """`localrule` only writes the configuration down: nothing to measure."""
    for file in sorted((REPOSITORY / "workflow" / "rules").glob("*.smk")):
        for rule in re.split(r"^\s*rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            name = rule.partition(":")[0]
            assert "log:" in rule, f"{file.name}: {name} has no log"
            assert "benchmark:" in rule or "localrule: True" in rule, f"{file.name}: {name} has no benchmark"


def test_rules_hold_no_anonymous_functions():
    for file in [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow" / "rules").glob("*.smk")]:
        assert "lambda" not in file.read_text(), file


def test_the_snakefile_only_says_what_exists():
    assert len((REPOSITORY / "Snakefile").read_text().splitlines()) < 60
