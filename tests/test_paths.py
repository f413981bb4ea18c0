"""The table of outputs names the paths that the code uses: no more, no fewer."""

import inspect
import re
from collections.abc import Iterator

import pytest

from docs.reference import ABBREVIATIONS, OUTPUTS
from gumbel import paths

CELL = paths.ExperimentPaths("{experiment}").cell("{architecture}", "{activation}", "{seed}")
HEAD_ONLY = paths.ExperimentPaths("{experiment}").head_only("{architecture}", "{activation}", "{seed}")
WARM_START = paths.ExperimentPaths("{experiment}").warm_start("{architecture}")
#: Methods that name a folder, not a file.
FOLDERS = ("cell", "head_only", "warm_start", "at")


def named_by(folder: object) -> Iterator[str]:
    """Every path of a class, with ``{parameter}`` for what its methods ask."""
    for name, member in inspect.getmembers(type(folder)):
        if isinstance(member, property | paths.File):
            yield str(getattr(folder, name))
        elif inspect.isfunction(member) and not name.startswith("_") and name not in FOLDERS:
            yield str(
                member(folder, *(f"{{{parameter}}}" for parameter in [*inspect.signature(member).parameters][1:]))
            )


def described() -> Iterator[str]:
    """The patterns of the table, each abbreviation written out."""
    for pattern, _, _ in OUTPUTS:
        first = re.match(r"\{(\w+)\}(?=/)", pattern)
        abbreviated = ABBREVIATIONS.get(first[1]) if first else None
        for folder in abbreviated or [""]:
            yield (folder + pattern[first.end() :] if abbreviated else pattern).rstrip("/")


def test_every_path_of_the_code_is_described_once_and_nothing_else_is():
    data, experiment = paths.DataPaths(paths.Path("data/{dataset}")), paths.ExperimentPaths("{experiment}")
    folders = [data, experiment, paths.StudyPaths("{study}"), CELL, HEAD_ONLY, WARM_START]
    named = [path for folder in folders for path in named_by(folder)]
    manifest = paths.job_manifest(paths.Path("{output_folder}/{output}"))
    single = [manifest, paths.backbone("{name}"), paths.given_weights("{name}"), paths.DRAWINGS]
    single += [paths.REPORT, paths.INDEX]
    single += [paths.mapped(data.annotations("{split}"), "{digest}")]
    single += [paths.parts(cell.predictions("{split}", "{scoring}"), "{digest}") for cell in (CELL, HEAD_ONLY)]
    snapshots = [cell.at("{percent}").root for cell in (CELL, HEAD_ONLY)]
    assert sorted(described()) == sorted([*named, *map(str, single + snapshots)])


def test_no_two_files_of_an_experiment_share_a_path():
    named = list(described())
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("folder", [CELL, HEAD_ONLY, WARM_START], ids=["cell", "head only", "warm start"])
def test_a_training_stays_below_its_folder(folder):
    assert all(path.startswith(f"{folder.root}/") for path in named_by(folder))


def test_trainings_never_share_a_folder():
    experiment = paths.ExperimentPaths("mini")
    folders = {experiment.cell("htc_r101", "gumbel", seed).root for seed in (0, 1, 10)}
    folders |= {experiment.cell("htc_r101", "softmax", 0).root, experiment.warm_start("htc_r101").root}
    folders |= {experiment.head_only("htc_r101", "softmax", 0).root}
    assert len(folders) == 6
    assert not any(one in other.parents for one in folders for other in folders)


def test_paths_are_relative_so_that_results_can_be_moved():
    assert not any(path.startswith("/") for path in described())
