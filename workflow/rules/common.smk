import signal

from snakemake.logging import logger

if workflow.output_settings.dryrun:
    logger.addHandler(plan.PlanHandler(EXPERIMENT.name))

# SLURM's warning before the time limit reaches every process of a job; the training alone heeds it
signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def cell_config(wildcards):
    """The cell's configuration; a cell that the experiment does not have is refused by name."""
    return matrix.cell(EXPERIMENT, **wildcards).paths(EXPERIMENT).config


# Cells whose weights the experiment names are never trained, not even where these weights are missing
GIVEN_CELLS = "|".join(EXPERIMENT.checkpoints)
TRAINED_ARCHITECTURE = f"(?!(?:{GIVEN_CELLS})/)[^/]+" if GIVEN_CELLS else "[^/]+"


def given_checkpoint(wildcards):
    """Weights trained elsewhere that the experiment names for a cell."""
    return EXPERIMENT.checkpoints[wildcards.cell]


def frozen_detector(wildcards):
    """Configuration and weights of the detector whose classification layer alone is trained anew."""
    cell = matrix.cell(
        EXPERIMENT,
        wildcards.architecture,
        EXPERIMENT.head_only.detector,
        wildcards.seed,
    )
    files = cell.paths(EXPERIMENT)
    return {"config": files.config, "checkpoint": files.checkpoint}


# A name is a folder's: what lies deeper, such as head_only/, has rules of its own
wildcard_constraints:
    architecture="[^/]+",
    activation="[^/]+",
    seed=r"\d+",
    split="[^/]+",
    scoring="[a-z]+",
    percent=r"\d+",


# ImageNet weights that the experiment's architectures start from
BACKBONES = sorted(
    {str(backbones.of_architecture(name).path) for name in EXPERIMENT.architectures}
)


def starting_weights(wildcards):
    """What a cell starts from: the warm start of its architecture, or ImageNet weights."""
    if EXPERIMENT.warm_start:
        return FILES.warm_start(wildcards.architecture).checkpoint
    return backbones.of_architecture(wildcards.architecture).path
