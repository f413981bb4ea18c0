"""A cell that was trained elsewhere, taken over once all of it that can be checked was."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from gumbel.detection.compose import write_configs
from gumbel.exchange import archive, checks
from gumbel.exchange.cell import Training, Wanted, compare
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest, status
from gumbel.jobs.files import atomic_path, write_json
from gumbel.jobs.lock import claim
from gumbel.paths import REPOSITORY, CellPaths


def unpack(archives: list[Path], experiment: Experiment) -> list[Path]:
    """Take over the cells of ``archives``, one after the other, and return their folders.

    Nothing of a cell is written before all of it is checked. Its configuration must be the one that this checkout
    composes, and code and data of its training those that lie here. Figures, intervals and types of error are made
    anew from the predictions, weight norms from the weights where they travel; what came of them is compared.

    Raises:
        ValueError: anything differs, the archive is a trap, or the cell is here already.
    """
    if any(Path(".snakemake/locks").glob("*")):
        raise ValueError("expected no Snakemake at work in this folder, found its lock; wait for it, or `--unlock`")
    taken: list[Wanted] = []
    try:
        for path in archives:
            with tempfile.TemporaryDirectory(prefix=".unpack-", dir=".") as folder:
                taken.append(_take_over(path, experiment, Path(folder)))
    finally:
        if taken:
            _tell_snakemake(taken)
    return [each.paths.root for each in taken]


def _take_over(path: Path, experiment: Experiment, staging: Path) -> Wanted:
    index = archive.read_index(path)
    wanted = _wanted(index, path, experiment)
    came, made = CellPaths(staging / "came"), CellPaths(staging / "made")
    came.root.mkdir()
    archive.extract(path, index.files, came.root)
    record = wanted.training(checks.record(came.manifest), str(path))
    checks.history(came.history, record.iterations)
    weights = {name: index.files[name] for name in wanted.weights if name in index.files}
    known = weights | {wanted.weights[0]: record.checkpoint_sha256}
    compare({name: known[name] for name in weights}, weights, f"the weights of {wanted} that its record names")
    for name in weights:
        checks.weights(came.root / name, wanted)
    for at, split, scoring in wanted.scored:
        told, anew = CellPaths(came.root / at.root), CellPaths(made.root / at.root)
        checks.predictions(told.predictions(split, scoring), wanted, split, scoring, known.get(str(at.checkpoint)))
        intervals = at.root == Path() and split == experiment.splits[0]
        checks.figures(told, anew, wanted, split, scoring, intervals)
    checks.norms(came, made, wanted)
    write_json(made.manifest, {"schema": 1} | record.model_dump())
    facts = dict(archive=path.name, sha256=manifest.sha256(path), unpacked=manifest.now(), weights=bool(weights))
    write_json(made.received, dict(schema=1, **facts, manifest_sha256=manifest.sha256(made.manifest)))
    _place(came.root, made.root, wanted, record)
    return wanted


def _wanted(index: archive.Index, path: Path, experiment: Experiment) -> Wanted:
    """The cell that an archive is of, as far as its index tells that it is one of ``experiment``."""
    cells = {str(cell): cell for cell in matrix.cells(experiment)}
    if index.experiment != experiment.name or index.cell not in cells:
        raise ValueError(
            f"expected a cell of {experiment.name} in {path}, found {index.cell!r} of {index.experiment!r}"
        )
    wanted = Wanted(experiment, cells[index.cell])
    root = wanted.paths.root
    if wanted.paths.manifest.exists():
        raise ValueError(f"expected no {wanted} here yet, found {root}; to take over another, remove it")
    wanted.check_data()
    compare(wanted.configuration, index.configuration, f"{wanted} in {path} to be configured as it would be here")
    if sorted(index.files) not in (sorted(wanted.files), sorted([*wanted.files, *wanted.weights])):
        differ = sorted(set(index.files) ^ set(wanted.files))
        raise ValueError(f"expected the files of {wanted} in {path}, with or without weights, found them but {differ}")
    return wanted


def _place(came: Path, made: Path, wanted: Wanted, record: Training) -> None:
    """Give each file its name, whole, and the manifest last: with it the cell is there."""
    paths = wanted.paths
    files = {path.relative_to(root): path for root in (came, made) for path in root.rglob("*") if path.is_file()}
    last = paths.manifest.relative_to(paths.root)
    with claim(paths.lock, work=f"the training {paths.root}"):
        write_configs(wanted.experiment, [paths.config])
        for name in sorted(files, key=lambda name: name == last):
            with atomic_path(paths.root / name) as temporary:
                shutil.move(files[name], temporary)
        length = dict(iteration=record.iterations, iterations=record.iterations, seconds=record.seconds)
        where = dict(host=record.host, gpu=record.gpu, processes=record.world_size)
        status.write(paths.status, status.Status(state="done", eta_seconds=0.0, **length, **where))


def _tell_snakemake(taken: list[Wanted]) -> None:
    """Have Snakemake note the files as outputs of its jobs, with their parameters: it notices later edits then."""
    experiment = taken[0].experiment
    files = [path for each in taken for path in (each.paths.config, *matrix.evidence(experiment, each.cell))]
    files += [each.paths.root / at.predictions(*pair) for each in taken for at, *pair in each.scored]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
        yaml.safe_dump(experiment.model_dump(mode="json"), settings)
        settings.flush()
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1"]
        options = ["--configfile", settings.name, "--touch", "--force", "--", *map(str, files)]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"expected Snakemake to note {' '.join(map(str, files))}, found it failing:\n{done.stderr}")
