"""The benchmark as a graph: data, trainings, predictions, LVIS AP, analyses, report.

snakemake reports/summary.html                        the embedded data, on a laptop
snakemake --configfile configs/experiments/NAME.yaml  another experiment
snakemake head_only                                   the classification layer alone, in minutes
snakemake --profile slurm                             on a SLURM cluster
"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from gumbel import paths
from gumbel.experiment import architectures, dependencies, matrix
from gumbel.monitor import plan
from gumbel.jobs.files import fingerprint
from gumbel.monitor.progress import last_words
from gumbel.monitor.page import PageKeeper

min_version("9.0")


report: "reports/captions/workflow.rst"


if not (workflow.overwrite_configfiles or "base" in config):

    configfile: str(paths.CONFIGS / "experiments" / "mini.yaml")


try:
    EXPERIMENT = matrix.parse(config, "the configuration")
except ValueError as error:
    raise WorkflowError(str(error)) from None

# Used with --software-deployment-method conda, ignored otherwise
ENVIRONMENT = str(paths.REPOSITORY / "environment.yml")
CELLS = matrix.cells(EXPERIMENT)
FILES = paths.ExperimentPaths(EXPERIMENT.name)
DATA = matrix.data(EXPERIMENT)
CELL = FILES.cell("{architecture}", "{activation}", "{seed}")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/cheaper.smk"
include: "workflow/rules/progress.smk"


rule all:
    default_target: True
    input:
        paths.REPORT,
