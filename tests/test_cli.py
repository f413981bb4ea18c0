"""The command line: every stage explains itself, and a foreseen mistake ends with a sentence."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from docs.reference import OUTPUTS
from gumbel.commands import commands, main, parser
from gumbel.experiment import matrix
from gumbel.paths import CONFIGS, REPOSITORY, job_manifest

IMAGE = {"id": 1, "height": 8, "width": 8, "neg_category_ids": [], "not_exhaustive_category_ids": []}
CATEGORY = {"id": 1, "name": "bird", "frequency": "r", "image_count": 0}
STAGES = list(commands())


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working folder with an experiment of one cell, and damaged inputs."""
    monkeypatch.chdir(tmp_path)
    record = yaml.safe_load((CONFIGS / "experiments" / "mini.yaml").read_text())
    record |= {"architectures": ["mask_rcnn_r50"], "activations": ["gumbel"]}
    Path("one.yaml").write_text(yaml.safe_dump(record))
    Path("typo.yaml").write_text(yaml.safe_dump(record | {"activations": ["gumble"]}))
    Path("lvis.yaml").write_text((CONFIGS / "experiments" / "lvis.yaml").read_text())
    Path("damaged").write_text('{"images": [')
    Path("annotations.json").write_text(json.dumps({"images": [IMAGE], "annotations": [], "categories": [CATEGORY]}))
    return tmp_path


def failure(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """The message of a command that fails. Python prints it to stderr and exits with 1."""
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert isinstance(ended.value.code, str)
    assert "Traceback" not in capsys.readouterr().err
    return ended.value.code


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_help(stage, capsys):
    with pytest.raises(SystemExit) as ended:
        main([stage, "--help"])
    assert ended.value.code == 0
    assert f"python -m gumbel {stage}" in capsys.readouterr().out


def test_the_list_of_stages_says_what_each_does(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    for stage in STAGES:
        assert re.search(rf"[\w)].? {stage} [a-zA-Z][\w' ]{{10}}", words), stage


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_does_in_a_sentence(stage):
    assert re.fullmatch(r"[A-Z][^.]*(\d\.x[^.]*)*\.", commands()[stage].summary)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_examples_that_it_understands(stage):
    text = commands()[stage].description.replace("\\\n", " ")
    examples = re.findall(r"^ *python -m gumbel (.*)$", text.partition("Example")[2], re.MULTILINE)
    assert examples
    for example in examples:
        arguments = shlex.split(example.partition(" > ")[0])
        assert arguments[0] == stage
        parser().parse_args(arguments)  # exits where it does not know one


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_of_every_option_says_what_happens_without_it(stage):
    for argument in commands()[stage].arguments:
        optional = argument.flags[0].startswith("-") and not argument.settings.get("required")
        if optional and argument.settings.get("action") != "store_true":
            assert re.search(r"\(default: .+\)$|^also write ", argument.help), argument.flags
            default = argument.settings.get("default")
            if isinstance(default, str | int | float):
                assert argument.help.endswith(f"(default: {default})")


def test_compare_says_which_side_is_subtracted_and_what_its_sign_means(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert "second minus first: a positive one means that the second file scores higher" in capsys.readouterr().out


def test_the_script_and_the_module_name_themselves_in_their_help(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/gumbel"])
    assert parser().format_usage().startswith("usage: gumbel ")
    monkeypatch.setattr(sys, "argv", ["/somewhere/gumbel/__main__.py"])
    assert parser().format_usage().startswith("usage: python -m gumbel ")


def test_the_script_is_the_module():
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["gumbel"].partition(":")
    run = f"import sys; sys.argv = ['bin/gumbel', '--help']; from {module} import {function}; {function}()"
    shown = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: gumbel ")
    assert all(f"    {stage} " in shown or f"    {stage}\n" in shown for stage in STAGES)


def test_without_the_packages_of_the_benchmark_the_command_line_says_how_to_get_them():
    """As after `pip install .`, which brings torch alone."""
    run = "import sys; sys.modules['pydantic'] = None; from gumbel.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("gumbel: expected the benchmark's environment, found no package pydantic; run `make")


def completions(words: str, folder: Path) -> set[str]:
    """What bash offers for the last of ``words``."""
    script = subprocess.run(
        [sys.executable, "-m", "gumbel", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    ask = f'\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _shtab_gumbel; echo "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-c", script + ask], capture_output=True, text=True, check=True, cwd=folder, env=environment
    )
    return set(done.stdout.split())


def test_bash_completes_stages_options_choices_and_files(tmp_path):
    pytest.importorskip("shtab")
    (tmp_path / "validation.json").touch()
    assert completions("gumbel ev", tmp_path) == {"evaluate"}
    assert completions("gumbel evaluate --prot", tmp_path) == {"--protocol"}
    assert completions("gumbel evaluate --protocol f", tmp_path) == {"fixed"}
    assert completions("gumbel evaluate --annotations val", tmp_path) == {"validation.json"}


def test_an_experiment_is_given_by_its_file_its_name_or_its_text(folder, capsys):
    def shown(source: str) -> str:
        main(["status", "--experiment", source])
        return capsys.readouterr().out

    one, mini = Path("one.yaml").read_text(), CONFIGS / "experiments" / "mini.yaml"
    assert shown("one.yaml") == shown(json.dumps(yaml.safe_load(one))) != ""
    assert shown("mini") == shown(str(mini)) != shown("one.yaml")
    assert "the text of --experiment is not a valid experiment" in failure(capsys, "status --experiment {grid:8}")


def test_the_record_of_an_output_names_the_files_that_were_read_and_none_that_was_written(folder):
    for _ in range(2):  # the second time, what is written is there already
        main(["subset", "annotations.json", "--images-per-category", "1", "--output", "o"])
    digest = hashlib.sha256(Path("annotations.json").read_bytes()).hexdigest()
    assert json.loads(job_manifest(Path("o")).read_text())["inputs"] == {"annotations.json": digest}


def test_every_stage_of_the_table_of_outputs_is_a_command():
    assert {stage for _, stage, _ in OUTPUTS} - {"(Snakemake)", "(every stage)"} <= set(STAGES)


MISTAKES = {
    "evaluate --annotations none.json --predictions p.parquet --output o": "none.json",
    "evaluate --annotations damaged --predictions p.parquet --output o": "expected LVIS v1 annotations in damaged",
    "evaluate --annotations annotations.json --predictions none.parquet --output o": "expected predictions at none",
    "weight-norms none.pth --annotations annotations.json --output o": "none.pth",
    "weight-norms damaged --annotations annotations.json --output o": "expected weights in damaged, found a damaged",
    "object-distribution none.json --output o": "none.json",
    "object-distribution damaged --output o": "expected LVIS v1 annotations in damaged",
    "data --experiment none.yaml": "expected to use none.yaml, found: No such file",
    'data --experiment {"name":"x","data_root":"x","dataset":"mimi"}': "one of coco, lvis_v1, mini; found 'mimi'",
    "backbones resnet5O": "expected names among resnet50-0676ba61, ",
    "configs --experiment typo.yaml": "found 'gumble'",
    "collect --experiment typo.yaml --output o": "found 'gumble'",
    "report --experiment one.yaml --output o.html": "expected the summary results/mini/summary.parquet, found none",
    "headline --experiment one.yaml": "run `snakemake results/mini/summary.parquet`",
    "train none.py": "none.py",
    "subset none.json --images-per-category 101 --output o": "none.json",
    "convert none.py --checkpoint none.pth": "none.pth",
    "convert none.py --checkpoint damaged": "expected weights in damaged, found a damaged",
    "features none.py --checkpoint none.pth --images 10 --output o": "none.py",
    "head-only none.py --detector none.pth --features none.parquet --folder d": "none.parquet",
    "head-only-order --experiment typo.yaml --output o": "found 'gumble'",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_foreseen_mistake_names_the_stage_and_the_file_and_leaves_no_output(folder, capsys, command):
    message = failure(capsys, command)
    assert message.startswith(f"gumbel {command.split()[0]}: ")
    assert MISTAKES[command] in message
    assert not {path.name for path in folder.iterdir()} & {"o", "d", "o.html"}


def test_training_and_prediction_say_what_is_missing_before_a_model_is_built(folder, capsys):
    main(["configs", "--experiment", "one.yaml"])
    (cell,) = matrix.cells(matrix.load(Path("one.yaml")))
    config = cell.paths(matrix.load(Path("one.yaml"))).config
    assert "data/mini/train.json, found nothing there; run `snakemake data/mini/train.json`" in failure(
        capsys, f"train {config}"
    )
    predict = f"predict {config} --checkpoint damaged --output"
    assert "(val, val_uniform), found 'vall'; add it" in failure(capsys, f"{predict} vall/matched.parquet")
    assert "expected weights in damaged, found a damaged file" in failure(capsys, f"{predict} val/matched.parquet")


def test_the_exit_status_is_1_and_nothing_but_the_message_is_printed(folder):
    command = [sys.executable, "-m", "gumbel", "configs", "--experiment", "none.yaml"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("gumbel configs: expected to use none.yaml")
    assert len(run.stderr.splitlines()) == 1
    assert not run.stdout
