import gc
import os

from snakemake.logging import logger

from snakemake_interface_executor_plugins.settings import ExecMode

from gumbel.datasets import weights
from gumbel.jobs import signals


def planned_jobs():
    """The jobs that would run, once Snakemake knows them."""
    return workflow.dag.needrun_jobs()


if workflow.output_settings.dryrun:
    # The graph of jobs lives to the end of a dry run: looking for garbage in it takes a fifth of its time
    gc.disable()
    logger.addHandler(plan.PlanHandler(EXPERIMENT, planned_jobs))

if workflow.exec_mode == ExecMode.DEFAULT:
    from gumbel.cluster import plugin

    plugin.install()
else:
    # In a job, Snakemake may be all that SLURM's signals reach
    signals.pass_on()
# A profile says how many processes train a cell
for asked in workflow.resource_settings.overwrite_resources.values():
    if "processes" in asked and int(asked["processes"].raw) != EXPERIMENT.gpus:
        raise WorkflowError(
            f"expected as many `gpus` in the profile as in the experiment {EXPERIMENT.name}, found "
            f"{asked['processes'].raw} and {EXPERIMENT.gpus}; change one of them: at the top of "
            "workflow/profiles/slurm/config.yaml, or in the experiment's file"
        )


# Jobs find Python and torchrun where Snakemake's own are, with its environment activated or not; an environment that
# Snakemake itself makes for a rule goes before it
os.environ.update(
    PATH=":".join([str(Path(sys.executable).parent), *os.get_exec_path()])
)


def files_of_the_project(folder):
    """Every file below a folder of the project, named from here: the project may be moved."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(os.path.relpath(path) for path in found)


PAPER = files_of_the_project(paths.CONFIGS / "paper")

# Settings that a job depends on, as the experiment that it is given: `params.settings` in braces
SETTINGS = '"{{$(printf %s {params.settings:q})}}"'


def cell_config(wildcards):
    """The cell's configuration; a cell that the experiment does not have is refused by name."""
    return matrix.cell(EXPERIMENT, **wildcards).paths(EXPERIMENT).config


def cell_settings(wildcards):
    """The settings of the experiment that a cell's configuration depends on."""
    matrix.cell(EXPERIMENT, **wildcards)
    return dependencies.as_settings(dependencies.cell_settings(EXPERIMENT, **wildcards))


def cell_sources(wildcards):
    """The files that a cell's configuration and training depend on."""
    return dependencies.sources(
        EXPERIMENT.dataset,
        wildcards.architecture,
        wildcards.activation,
        EXPERIMENT.schedule,
    )


def warm_start_settings(wildcards):
    return dependencies.as_settings(
        dependencies.warm_start_settings(EXPERIMENT, wildcards.architecture)
    )


def warm_start_sources(wildcards):
    return dependencies.sources(
        EXPERIMENT.dataset,
        wildcards.architecture,
        None,
        EXPERIMENT.warm_start.schedule,
    )


def matrix_sources(wildcards):
    """The files that any configuration of the experiment depends on."""
    return sorted(
        {
            source
            for cell in CELLS
            for source in dependencies.sources(
                EXPERIMENT.dataset,
                cell.architecture,
                cell.activation,
                EXPERIMENT.schedule,
            )
        }
    )


# Lists of the whole matrix are functions: every job starts Snakemake anew, and makes none of them
def evidence(wildcards):
    """What the summary is made from."""
    if EXPERIMENT.allow_missing:
        return []
    files = [path for cell in CELLS for path in matrix.evidence(EXPERIMENT, cell)]
    return [*files, FILES.object_distribution]


def there():
    """What the summary is made from, as far as it is there, and what tells why there is no more."""
    for cell in CELLS:
        files = cell.paths(EXPERIMENT)
        yield from matrix.evidence(EXPERIMENT, cell)
        yield from (files.status, files.log("train").parent)
    yield FILES.object_distribution


def head_only_metrics(wildcards):
    """What the order of the activations with their classification layers alone is made from."""
    cells = (
        FILES.head_only(cell.architecture, cell.activation, cell.seed) for cell in CELLS
    )
    return [files.metrics(EXPERIMENT.splits[0], "matched") for files in cells]


# Cells whose weights the experiment names are never trained, not even where these weights are missing
GIVEN_CELLS = "|".join(EXPERIMENT.checkpoints)
TRAINED_ARCHITECTURE = f"(?!(?:{GIVEN_CELLS})/)[^/]+" if GIVEN_CELLS else "[^/]+"


def given_url(wildcards):
    """Where weights trained elsewhere are downloaded from."""
    return GIVEN_URLS[wildcards.name]


def given_checkpoint(wildcards):
    """Weights trained elsewhere that the experiment names for a cell."""
    return weights.path(EXPERIMENT.checkpoints[wildcards.cell])


def frozen_detector(wildcards):
    """Configuration and weights of the detector whose classification layer alone is trained anew."""
    cell = matrix.cell(
        EXPERIMENT,
        wildcards.architecture,
        EXPERIMENT.head_only.detector or EXPERIMENT.activations[0],
        wildcards.seed,
    )
    files = cell.paths(EXPERIMENT)
    return {"config": files.config, "checkpoint": files.checkpoint}


# Activations that are scored in one way only, as trained
SCORED_TWICE = "|".join(EXPERIMENT.released_scoring)
SCORED_ONCE = f"(?!(?:{SCORED_TWICE})/)[^/]+" if SCORED_TWICE else "[^/]+"


# A name is a folder's: what lies deeper, such as head_only/, has rules of its own
wildcard_constraints:
    architecture="[^/]+",
    activation="[^/]+",
    seed=r"\d+",
    split="[^/]+",
    scoring="[a-z]+",
    percent=r"\d+",


# ImageNet weights that the experiment's architectures start from
BACKBONES = [backbone.path for backbone in matrix.starting_weights(EXPERIMENT)]


def starting_weights(wildcards):
    """What a cell starts from: the warm start of its architecture, ImageNet weights, or nothing."""
    if EXPERIMENT.warm_start:
        return FILES.warm_start(wildcards.architecture).checkpoint
    weights = architectures.get(wildcards.architecture).weights
    return [] if weights is None else weights.path
